"""The response monitor: its arithmetic on arrays, its calibration, and its findings. Uses no database and no API."""

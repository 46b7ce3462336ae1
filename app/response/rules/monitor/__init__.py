"""The response monitor: its computation on arrays, its calibration, and its findings. Uses no database and no API."""

"""The response monitor: its arithmetic on arrays, its calibration, and its findings. Never a database, never a face."""

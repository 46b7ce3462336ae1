"""The response monitor: arithmetic on arrays, calibration, and what it says. Never a database, never a face."""

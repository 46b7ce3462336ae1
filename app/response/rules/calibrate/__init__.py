"""Calibration: what a district's own series say of growth, noise and forms. It reads scores only, never a label."""

"""Calibration: estimates growth, noise and form effects from a district's own series. Reads scores, never labels."""

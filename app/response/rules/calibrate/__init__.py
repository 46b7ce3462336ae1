"""Estimates growth, noise and form effects from a district's own series (calibration). Uses scores, never labels."""

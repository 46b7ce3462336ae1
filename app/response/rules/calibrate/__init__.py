"""Calibrates the monitor: estimates growth, noise and the difficulty of forms from a district's own series.

A form is a version of a test. Only scores are used, and no labels that say which students responded.
"""

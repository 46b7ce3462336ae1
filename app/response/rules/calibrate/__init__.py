"""Calibrates the monitor: estimates growth, noise and form effects from a district's own series.

It uses scores only, and no labels that say which students responded.
"""

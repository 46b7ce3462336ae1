"""Estimates growth, noise and form effects from a district's own series (calibration).

It uses scores only, and no labels that say which students responded.
"""

"""Imports scores from CSV files, and from those results in a source's gradebook that a rule maps to a measure."""

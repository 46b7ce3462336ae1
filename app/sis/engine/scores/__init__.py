"""Imports scores from two origins: results in a source's gradebook that a rule maps to a measure, and CSV files."""

"""Reads OneRoster CSV files in a zip."""

"""Compiles selections into one SQL statement, and renders the JSON text that the statement returns."""

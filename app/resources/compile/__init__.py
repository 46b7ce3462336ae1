"""Compiles selections into one statement, and renders the JSON text that the statement returns."""

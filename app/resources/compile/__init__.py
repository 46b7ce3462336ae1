"""Compiles selections into one statement, and renders what it returns."""

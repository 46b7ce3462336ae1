"""Owns the compilation of selections to one statement, and the rendering of what it returns."""

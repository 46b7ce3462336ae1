"""Measures: their definitions, the commands that create and amend them, and their standard errors."""

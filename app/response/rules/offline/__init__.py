"""Judges series that are given as JSON, one on each line of an input, by any rule. Uses no files and no database."""

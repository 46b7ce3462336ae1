"""Judges series that are given as lines of JSON, by any rule. Reads and writes no files, and uses no database."""

"""Reads OneRoster 1.1 and 1.2 over REST, and converts the pages to CSV.

Contains no SQL and decides nothing about the roster.
"""

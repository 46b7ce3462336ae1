"""Reads what the pages of a meeting show: its recap, and its agenda with names."""

"""Brings the deliveries of a source into the staging tables: checks the files, loads them and converts their rows."""

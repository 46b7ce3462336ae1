"""Stages the deliveries of a source: checks the files, loads them and converts their rows."""

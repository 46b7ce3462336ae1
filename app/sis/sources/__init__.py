"""Manages the configuration of each of a district's sources: settings, schedule, mapping."""

"""Manages what a district has configured for each source: settings, schedule, mapping."""

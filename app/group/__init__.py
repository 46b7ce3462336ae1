"""Manages groups of students: their members, and sessions that are recorded once for everybody who was there."""

"""Manages groups of students: their dated members, and sessions that are recorded once for everybody who was there."""

"""Concerns: which students a team is concerned about, and in which areas."""

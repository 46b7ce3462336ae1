"""Decisions: what a team decided for a student, on what evidence, by which rule."""

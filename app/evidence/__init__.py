"""Scores: what is observed of a student. A score belongs to a student and a measure, never to a support."""

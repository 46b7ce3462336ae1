"""Scores of students. A score belongs to a student and a measure, never to a support."""

"""Concerns about students, each in one area."""

"""Supports for students, with their phases, goals and sessions."""

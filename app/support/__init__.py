"""Supports: what is done for a student, with phases, goals and sessions."""

"""Judges whether a student has responded to a support. Never decides, and never rates an adult."""

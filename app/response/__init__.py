"""Judges from a student's scores whether the student has responded to a support. Never decides, and never rates an
adult.
"""

"""Judges from a student's scores whether the student has responded to a support.

It makes no decision about a student, and never rates an adult.
"""

"""Computes reports about many students: about screening windows, and about how supports reach students.

Small counts are not published.
"""

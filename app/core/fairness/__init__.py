"""Divides one process fairly between districts.

Decides the order in which requests run, how many run at the same time, and how many may be sent in a time window.
"""

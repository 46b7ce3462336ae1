"""Divides one process fairly between districts: in which order requests run, how many at once, and how many per
minute.
"""

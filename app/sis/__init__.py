"""Syncs a district's roster and grades from its SIS (student information system): fetches, stages, checks, plans,
applies.
"""

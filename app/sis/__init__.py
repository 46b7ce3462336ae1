"""Syncs a district's roster and grades from its SIS (student information system).

A sync fetches, stages and checks the data, plans the changes, and applies them.
"""

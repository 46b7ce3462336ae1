"""Executes sync runs and lists them.

There are runs that pull a source, undo a run, or rename sourcedIds, and people's answers to held runs.
"""

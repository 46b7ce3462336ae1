"""Executes sync runs and people's answers to them, and lists runs: pulls from a source, approves, undoes, renames
sourcedIds.
"""

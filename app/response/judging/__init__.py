"""Loads series, judges them with their cohorts, and writes the verdicts.

Makes the verdicts of a week final when the week is complete.
"""

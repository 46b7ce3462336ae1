"""Loads series, judges them with their cohorts, and writes the verdicts. Finalizes the verdicts when a week is
complete.
"""

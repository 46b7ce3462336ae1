"""Loads series, judges them with their cohorts, writes the verdicts, and finalizes them when a cohort's week is
complete.
"""

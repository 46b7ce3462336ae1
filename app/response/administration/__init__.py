"""Manages what judging depends on: the rules in force, calibrations, school breaks, and measures."""

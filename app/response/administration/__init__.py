"""Manages what judging depends on: the rules in force, calibrations, and the effects of breaks and changed measures."""

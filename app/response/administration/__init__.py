"""Manages the inputs of judging: the rules in force, calibrations, and the effects of changed breaks and measures."""

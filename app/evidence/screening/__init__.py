"""Screening windows: the days on which the students of some grades are screened by some measures."""

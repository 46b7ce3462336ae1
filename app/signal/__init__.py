"""Signals: what a rule sees in a student's data, suggested to a team as a concern or as a success."""

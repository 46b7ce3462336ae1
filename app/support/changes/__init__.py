"""Compares a phase of a support with the previous one: how intensive it is, and how much growth its goal requires."""

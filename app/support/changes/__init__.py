"""Compares two phases of a support: the intensity of each, and the growth that the goal of each requires."""

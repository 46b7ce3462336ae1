"""Aimline: an API service for schools' collaborative systems of support. Holds nothing itself; the rooms do."""

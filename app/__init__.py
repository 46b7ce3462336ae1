"""Aimline: an API service for schools' collaborative systems of support."""

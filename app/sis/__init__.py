"""Syncs a district's roster and grades from its SIS: fetches, stages, checks, plans, guards and applies them."""

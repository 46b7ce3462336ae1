"""Syncs a district's roster from its SIS: fetch, stage, check, plan, guard, apply."""

"""Brings a district's SIS to the roster: fetch, stage, check, plan, guard, apply."""

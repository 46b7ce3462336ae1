"""Schedules syncs: when a source's run is due, which worker executes it, and what is reported if none does."""

"""Schedules syncs: decides when a run of a source is due, has a worker execute it, and reports overdue runs."""

"""Shows what a run would change, row by row, and maps old to new sourcedIds of people who likely got a new one."""

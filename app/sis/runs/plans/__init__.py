"""Shows what a run would change, row by row, and matches the people whom a run names as likely the same."""

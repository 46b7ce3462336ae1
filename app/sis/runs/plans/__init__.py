"""Shows what a run would change, row by row, and matches people whom a run reported as likely the same."""

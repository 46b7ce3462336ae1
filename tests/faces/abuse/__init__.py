"""Tests with requests made to exhaust a process: what each may cost, and what stays available meanwhile."""

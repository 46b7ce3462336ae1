"""Requests that are made to exhaust a process, and what each may cost."""

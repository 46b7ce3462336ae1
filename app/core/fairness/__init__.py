"""Owns how one process shares itself: whose request is next, how many run at once, how many may come in a window."""

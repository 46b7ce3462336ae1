"""Divides one process fairly between districts: the order of requests, how many run at once, and how many per minute."""

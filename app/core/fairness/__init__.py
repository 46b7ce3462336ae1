"""Divides one process fairly between districts: the order of requests, how many run at once, and their rate."""

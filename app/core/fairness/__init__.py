"""Divides one process fairly between districts: the order of requests, their number at once, and their rate."""

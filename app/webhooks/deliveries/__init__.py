"""Manages the log of deliveries: sends them again on request, and deletes them after their retention."""

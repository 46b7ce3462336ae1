"""Manages the log of deliveries: sends deliveries again on request, and deletes old ones."""

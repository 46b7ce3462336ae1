"""Notes on concerns, supports and agenda items."""

"""Tests the API server: its connections and its processes."""

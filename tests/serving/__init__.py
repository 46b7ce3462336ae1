"""Tests the API's server: its connections and processes."""

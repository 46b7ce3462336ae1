"""Tests the import of rosters, grades and scores from a SIS."""

"""Imports scores: from the mapped results of a source's gradebook, and from CSV files of scores."""

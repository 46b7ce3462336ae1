"""Holds the tables of the first revision, written out as they were made then; frozen, as every revision is."""

"""Tests the resource engine: the rows that a selection reads, and that the APIs return the same as before."""

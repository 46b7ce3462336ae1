"""Tests of the resource engine: what a selection reads, and that it equals what the APIs returned before."""

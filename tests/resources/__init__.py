"""Tests the resource engine: which rows a request reads, and that both APIs return what they returned before."""

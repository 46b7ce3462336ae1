"""Tests the resource engine: which rows a request reads, and that REST and GraphQL return what the engine reads."""

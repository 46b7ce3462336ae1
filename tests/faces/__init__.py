"""Tests the REST and GraphQL APIs and the command line."""

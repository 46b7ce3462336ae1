"""Tests the contracts with programs of other makers: an audit of GraphQL over HTTP, and three generators of clients."""

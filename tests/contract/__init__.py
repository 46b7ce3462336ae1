"""Tests the contracts with other makers' programs: an audit of GraphQL over HTTP, and three generators of clients."""

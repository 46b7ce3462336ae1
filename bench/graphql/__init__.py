"""Measures GraphQL against PostGraphile 5 over the same database, and a REST page against one bare route."""

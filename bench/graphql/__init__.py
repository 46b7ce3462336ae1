"""Measures GraphQL against PostGraphile 5 over the same database, and a page of REST against a minimal server."""

"""The tests, which run on a real PostgreSQL, as the role `api`."""

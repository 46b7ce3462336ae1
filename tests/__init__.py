"""The suite. It runs on a real PostgreSQL, as the role `api`."""

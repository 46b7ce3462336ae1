"""Each room on PostgreSQL, as role `api`."""

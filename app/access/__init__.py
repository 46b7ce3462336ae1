"""Authentication and authorization: callers, permissions, row-level security and the unit of work."""

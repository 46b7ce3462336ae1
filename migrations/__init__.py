"""The schema, step by step: expand, migrate, contract."""

"""Derives REST from the declared resources: shapes, parameters, selections, answers and routes. Names no resource."""

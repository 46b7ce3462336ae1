"""Implements idempotency keys, which make a request repeatable, and row versions, which detect concurrent changes.

Does not know HTTP.
"""

"""Implements idempotency keys and row versions. Does not know HTTP.

An idempotency key makes a request repeatable. A row version shows that a row was changed since a caller read it.
"""

"""Implements idempotency keys and row versions, independently of HTTP.

An idempotency key makes a request repeatable. A row version shows whether a row was changed since a caller read it.
"""

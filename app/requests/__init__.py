"""Implements idempotency keys and row versions, independently of HTTP.

With an idempotency key, a client can repeat a request safely. A row version shows whether a row was changed since a
caller read it.
"""

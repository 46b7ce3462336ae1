"""Implements what protects a request from being repeated or from overwriting a change: idempotency keys and row
versions.

Does not know HTTP.
"""

"""What a request may ask of its own repetition and of the rows that it changes: idempotency keys and versions.

Knows no HTTP.
"""

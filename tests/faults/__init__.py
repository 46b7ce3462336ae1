"""Seeded schedules of faults: real processes and a real PostgreSQL are killed, receivers misbehave, clocks are wrong.

`python -m tests.faults webhooks --schedules 200` runs them; the test suite contains a short set.
"""

"""Seeded schedules of faults: real processes and a real PostgreSQL are killed, receivers misbehave, clocks are wrong.

`python -m tests.faults webhooks --schedules 200` plays them; a short set is in the suite.
"""

"""Random schedules of faults, repeatable by a seed: real processes and a real PostgreSQL are killed, and clocks are
wrong.

`python -m tests.faults webhooks --schedules 200` runs them; the test suite contains a short set.
"""

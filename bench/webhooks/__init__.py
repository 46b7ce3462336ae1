"""Measures webhooks and the feed against limits or against a bare loop in the same run: `python -m bench.webhooks`."""

"""Measures webhooks and the feed, each against a limit or a bare loop in the same run: `python -m bench.webhooks`."""

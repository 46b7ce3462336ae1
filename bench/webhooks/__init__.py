"""Measures webhooks and the feed beside a limit or a bare loop, in one run. `python -m bench.webhooks`."""

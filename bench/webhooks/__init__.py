"""Measures webhooks and the feed: `python -m bench.webhooks`. The figures are compared with limits, or with a bare loop
that runs at the same time.
"""

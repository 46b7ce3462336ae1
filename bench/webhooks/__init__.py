"""Measures webhooks and the change feed: `python -m bench.webhooks`.

The figures are compared with limits, or with a simple loop of httpx requests without Aimline.
"""

"""Measures what one district's load does to another's requests: `python -m bench.noisy`."""

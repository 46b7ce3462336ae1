"""Measures how much one district's load delays another district's requests: `python -m bench.noisy`."""

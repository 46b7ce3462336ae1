"""Measures how one district's load affects another district's requests: `python -m bench.noisy`."""

"""Core stalls: the share of a whole grade that reaches the benchmark falls between two screening windows."""

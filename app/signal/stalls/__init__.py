"""Core stalls: a whole grade falls behind the benchmark between two screening windows."""

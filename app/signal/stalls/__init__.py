"""Core stalls: in a whole grade, the share of students at the benchmark falls between two screening windows."""

"""Core stalls: in a whole grade, the share of students who reach the benchmark falls between two screening windows."""

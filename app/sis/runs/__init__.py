"""Carries out and answers sync runs: pulls from a source, approves, undoes, moves to new ids, and lists them."""

"""Executes and answers sync runs: pulls from a source, approves, undoes, rekeys and lists runs."""

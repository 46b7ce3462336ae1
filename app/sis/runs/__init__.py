"""Executes sync runs and lists them.

A run pulls a source, undoes an earlier run, or renames sourcedIds. If a person approves or discards a held
run, the decision is executed here too.
"""

"""Executes sync runs and lists them.

A run pulls a source, undoes an earlier run, or renames sourcedIds. People's answers to held runs are executed here too.
"""

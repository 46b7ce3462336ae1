"""Signals: suggestions that rules make to teams. A signal says what a rule has found in one student's data.

A team accepts it as a concern or as a success, or dismisses it.
"""

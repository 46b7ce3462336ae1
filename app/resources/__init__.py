"""Owns the resource engine: declarations of public nouns, selections over them, and their one statement."""

"""The sync engine: stages, checks, plans and applies the deliveries of all sources with the same statements.

A run that would change too much is held for a person to review.
"""

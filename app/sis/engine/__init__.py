"""The sync engine. It stages, checks, plans and applies the deliveries of all sources with the same statements, and
holds a run that would change too much.
"""

"""Reviews the staged rows of a run before they are applied.

It finds contradictions and people who likely have a new sourcedId, and records which rows were quarantined.
"""

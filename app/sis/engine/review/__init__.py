"""Reviews the staged rows of a run.

It finds contradictions and people who likely have a new sourcedId, and identifies the quarantined rows.
"""

"""Reviews the plan of a run before it is applied.

It finds planned changes that contradict the delivery, finds people who likely have a new sourcedId, lists the changes
for a person to read, and records which rows were quarantined.
"""

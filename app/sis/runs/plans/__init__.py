"""Shows row by row what a run would change. Also makes maps from old to new sourcedIds for people who probably got a
new one.
"""

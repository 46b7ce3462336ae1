"""Meetings of teams: the series by which meetings recur, and the protocols that meetings may follow."""

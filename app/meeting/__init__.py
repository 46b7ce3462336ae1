"""Meetings of teams: the series by which they recur, and the protocols that they may follow."""

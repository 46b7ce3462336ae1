"""Serves students together: groups, their dated members, and one record of a session for everybody who was there."""

"""Incidents: what happened at school in which students were involved, and the kinds of incidents."""

"""Agendas of meetings: what a team should discuss, why it is on the agenda, and what became of it."""

"""Agendas of meetings: what the data give a team to talk about, why, and what became of it."""

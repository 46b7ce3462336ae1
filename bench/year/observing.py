"""Reads the verdicts of the simulated year after each step that may change one, and records what follows from them."""

from __future__ import annotations

from datetime import timedelta

from bench.year.state import Year
from bench.year.truth import UNSERVED_DAYS, expected_state, is_active, is_unserved


def read_states(year: Year) -> None:
    """Reads all supports with their current verdicts, in several requests, and checks the state of each support."""
    with year.caller.counting("verdicts"):
        supports = {support["id"]: support for support in year.caller.all("/v1/supports")}
    tick = year.tick()
    for record in year.supports:
        if record.id:
            support = record.last = supports[record.id]
            verdict = support["verdict"]
            record.observe(verdict, year.today, tick)
            state = support["state"] if support["state"] != "active" else verdict["state"] if verdict else "no verdict"
            record.states[year.week] = state
            expected = expected_state(year, record)
            year.require(support["state"] == expected, f"{record.key!r} is {support['state']} instead of {expected}")
    _follow_concerns(year)


def _follow_concerns(year: Year) -> None:
    """Records for each accepted concern since which day it has had no active support."""
    for concern in year.concerns.values():
        served = any(record.concern == concern.id and is_active(year, record) for record in year.supports)
        if concern.state != "accepted" or served:
            concern.unserved_since = None
        elif concern.unserved_since is None:
            concern.unserved_since = year.today


def follow_unserved(year: Year) -> None:
    """Records which concerns have had no active support for so long that a reminder is possible or required."""
    for concern in year.concerns.values():
        since = concern.unserved_since
        if since is not None and is_unserved(year, concern):
            yesterday = year.today - timedelta(days=1)
            concern.may_be_reported |= year.days_of_school(since) >= UNSERVED_DAYS
            concern.was_unserved_long |= year.days_of_school(since, yesterday) >= UNSERVED_DAYS

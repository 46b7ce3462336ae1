"""Computes what is due for a member of staff in the simulated year, from what the benchmark has done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from bench.year.records import ALARMS
from bench.year.state import Year
from bench.year.truth import is_active, is_unserved, overdue_checks, serves

A_WEEK = timedelta(days=6)
Need = tuple[str, str, str]
"""A reason, the id of what it is about, and the day since which there is one; no day for a hypothesis."""


def needs_of(year: Year, name: str) -> set[Need]:
    """Returns what is due for a person within the week."""
    return {*_of_actions(year, name), *_of_supports(year, name), *_of_concerns(year, name), *_of_hypotheses(year, name)}


def _of_actions(year: Year, name: str) -> Iterator[Need]:
    teams = {team.id: team for team in year.teams.values()}
    for action in year.actions:
        is_due = action.state == "open" and action.due_on <= year.today + A_WEEK
        if is_due and action.owner == name and serves(year, teams[action.team], action.student):
            yield "action_due", action.id, str(action.due_on)


def _of_supports(year: Year, name: str) -> Iterator[Need]:
    for record in year.present():
        if record.lead == name and is_active(year, record):
            for day in overdue_checks(year, record):
                yield "check_overdue", record.id, str(day)
            if record.state_of_verdict in ALARMS and not record.is_decided:
                yield "decision_due", record.id, str(record.verdict_since)


def _of_concerns(year: Year, name: str) -> Iterator[Need]:
    """Yields the concerns about the students of the person's teams and supports."""
    own = {record.student for record in year.present() if record.lead == name and not record.is_ended}
    teams = [team for team in year.teams.values() if name in team.members]
    for concern in year.concerns.values():
        if concern.student in own or any(serves(year, team, concern.student) for team in teams):
            if concern.state == "raised":
                yield "concern_unanswered", concern.id, str(concern.raised_on)
            elif is_unserved(year, concern):
                yield "concern_unserved", concern.id, str(concern.unserved_since)


def _of_hypotheses(year: Year, name: str) -> Iterator[Need]:
    for hypothesis in year.hypotheses:
        is_own = name in (hypothesis.proposed_by, hypothesis.record.lead)
        if hypothesis.due_because is not None and is_own and hypothesis.record.student not in year.away:
            yield "hypothesis_due", hypothesis.id, ""

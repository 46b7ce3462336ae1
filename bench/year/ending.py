"""Checks the end of the simulated year: agendas, stored agenda items, signals, and reports of unserved concerns."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from bench.year.agendas import check_agenda
from bench.year.questions import ask_all
from bench.year.records import TeamRecord
from bench.year.signals import follow_signals
from bench.year.stalls import follow_stalls
from bench.year.state import Year
from bench.year.truth import is_unserved, serves

AT_ONCE: Final = 40
"""How many records one GraphQL query looks up."""


def end_year(year: Year) -> None:
    """Checks the product's state at the end: signals, core stalls, agendas, stored items, and reports of unserved
    concerns.
    """
    follow_signals(year)
    follow_stalls(year)
    ask_all(year)
    for team in year.teams.values():
        agenda = year.caller.get(f"/v1/teams/{team.id}/agenda")
        check_agenda(year, team, agenda)
        _check_records(year, team, agenda["items"])
        _check_stored(year, team)
    _check_unserved(year)


def _check_records(year: Year, team: TeamRecord, entries: list[dict[str, Any]]) -> None:
    """Requires that every record named in the reasons of agenda items can be read."""
    records = sorted({record for entry in entries for reason in entry["reasons"] for record in reason["records"]})
    year.require(records or not entries, f"the items of {team.name} rest on no records")
    for first in range(0, len(records), AT_ONCE):
        chosen = records[first : first + AT_ONCE]
        fields = " ".join(f'r{place}: node(id: "{record}") {{ id }}' for place, record in enumerate(chosen))
        found = year.caller.query(f"{{ {fields} }}")
        gone = [record for place, record in enumerate(chosen) if found[f"r{place}"] is None]
        year.require(not gone, f"items of {team.name} rest on records that cannot be read: {gone[:3]}")


def _check_stored(year: Year, team: TeamRecord) -> None:
    """Checks the state of each stored item: it was discussed, dropped or carried over, waits for the next meeting, or
    is suspended.
    """
    items = list(year.caller.all("/v1/agenda-items", team=team.id))
    by_state = Counter(each["state"] for each in items)
    for state in ("discussed", "dropped", "carried"):
        number = sum(meeting.get(state, 0) for meeting in team.meetings)
        year.require(by_state[state] == number, f"{team.name} has {by_state[state]} items {state} instead of {number}")
    waiting = [own for own in team.own if not own.is_settled]
    for state, right in (
        ("open", {own.text for own in waiting if serves(year, team, own.student)}),
        ("suspended", {own.text for own in waiting if not serves(year, team, own.student)}),
    ):
        kept = [each for each in items if each["state"] == state]
        year.require(
            {each["text"] for each in kept} == right and len(kept) == len(right),
            f"{team.name} has {len(kept)} {state} items at the end instead of {len(right)}",
        )
        year.require(
            all(each["meeting"] is None for each in kept), f"{state} items of {team.name} are of a past meeting"
        )


def _check_unserved(year: Year) -> None:
    """Checks that each concern is reported if it had no support for too many days, and that no other concern is
    reported.

    The playbook sets the number of days. The list of unserved concerns is checked too.
    """
    reported = {event["data"]["concern"] for event in year.events if event["type"] == "concern.unserved"}
    listed = {each["id"] for each in year.caller.all("/v1/concerns", unserved="true")}
    for concern in year.concerns.values():
        words = f"the concern about {concern.student}"
        year.require(concern.id in listed or not is_unserved(year, concern), f"{words} is unserved and not listed")
        year.require(concern.id in reported or not concern.was_unserved_long, f"{words} was unserved and not reported")
        year.require(
            concern.may_be_reported or concern.id not in reported, f"{words} is reported, although it was served"
        )
    unknown = reported - year.concerns.keys()
    year.require(not unknown, f"{len(unknown)} reports are about concerns that the script does not know")

"""The end of the played year: items and reasons agree, and every unserved concern is reported."""

from __future__ import annotations

from datetime import timedelta

from bench.year.agendas import check_agenda
from bench.year.questions import ask_all
from bench.year.signals import follow_signals
from bench.year.state import Year
from bench.year.truth import UNSERVED_DAYS, is_unserved, serves


def end_year(year: Year) -> None:
    """Compares the last agendas, the items that are still open, and the reports of unserved concerns with the truth."""
    follow_signals(year)
    ask_all(year)
    for team in year.teams.values():
        agenda = year.caller.get(f"/v1/teams/{team.id}/agenda")
        check_agenda(year, team, agenda)
        left = {each["text"] for each in year.caller.all("/v1/agenda-items", team=team.id, state="open")}
        waiting = {own.text for own in team.own if not own.is_settled and serves(year, team, own.student)}
        year.require(left == waiting, f"{team.name} has {len(left)} open items at the end instead of {len(waiting)}")
        suspended = list(year.caller.all("/v1/agenda-items", team=team.id, state="suspended"))
        gone = [each for each in suspended if serves(year, team, year.names[each["student"]])]
        year.require(not gone, f"{len(gone)} items of students who are here are suspended")
    _check_unserved(year)


def _check_unserved(year: Year) -> None:
    """Requires the report of each concern that was unserved for the days of the playbook."""
    reported = {event["data"]["concern"] for event in year.events if event["type"] == "concern.unserved"}
    listed = {each["id"] for each in year.caller.all("/v1/concerns", unserved="true")}
    for concern in year.concerns.values():
        if is_unserved(year, concern) and concern.unserved_since is not None:
            year.require(concern.id in listed, f"the unserved concern about {concern.student} is not listed")
            is_long = year.days_of_school(concern.unserved_since, year.today - timedelta(days=1)) >= UNSERVED_DAYS
            year.require(not is_long or concern.id in reported, f"the concern about {concern.student} is not reported")

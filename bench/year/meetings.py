"""Simulates the meetings of the two teams: each is opened, worked through and closed, and its recap is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from bench.year.agendas import check_agenda, doubled
from bench.year.answers import Outcome, Sitting, answer
from bench.year.observing import read_states
from bench.year.records import TeamRecord
from bench.year.roster import SPECIALIST, YEAR_ENDS, external
from bench.year.state import OFF, Year
from bench.year.truth import RESTING, Expected

CAPACITY: Final = 12
"""How many items a team works through in a meeting, signals aside, which it answers in one look at the list."""
STEPS: Final = (("What do we see?", 10), ("Why do we think it happens?", 15), ("Who does what by when?", 15))
SERIES: Final = {
    "grade": ("08:00", "FREQ=WEEKLY;BYDAY=TU"),
    "problem-solving": ("15:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"),
}


def schedule(year: Year) -> None:
    """Publishes a protocol, and schedules the meetings of both teams as series."""
    steps = [{"title": title, "minutes": minutes} for title, minutes in STEPS]
    year.caller.post("/v1/protocols", {"code": "forty", "name": "Forty minutes", "steps": steps})
    for name, (time, rule) in SERIES.items():
        begins_at = f"{year.day(8)}T{time}"
        body = {"team": year.teams[name].id, "begins_at": begins_at, "rule": rule, "minutes": 45, "protocol": "forty"}
        year.caller.post("/v1/meeting-series", body)


def meet(year: Year) -> None:
    """Holds the meetings of the day. The problem-solving team meets in every other week."""
    hold(year, year.teams["grade"])
    if year.week % 2 == 1:
        hold(year, year.teams["problem-solving"])


def hold(year: Year, team: TeamRecord) -> None:
    """Simulates today's meeting of a team.

    Compares the team's agenda with the expected items, both before and after the meeting is opened.
    """
    agenda = year.caller.get(f"/v1/teams/{team.id}/agenda")
    check_agenda(year, team, agenda)
    meeting = agenda["meeting"]
    is_today = meeting is not None and meeting["starts_at"][:10] == year.today.isoformat()
    year.require(is_today, f"{team.name} has no meeting today")
    if not is_today:
        return
    member = external(SPECIALIST)
    present = [external(name) for name in team.members if name not in year.roster.gone]
    year.caller.post(f"/v1/meetings/{meeting['id']}/open", {"present": present}, act_for=member)
    opened = year.caller.get(f"/v1/teams/{team.id}/agenda", act_for=member)
    right = check_agenda(year, team, opened)
    held = _Held(meeting["id"])
    sitting = Sitting(year, team, opened["items"])
    for entry in opened["items"]:
        item = right.get(entry["subject"] + entry["kind"])
        if item is not None:
            outcome = None if held.worked >= CAPACITY and item.kind != "signal" else answer(sitting, entry, item)
            held.worked += outcome is not None and item.kind != "signal"
            held.settle(year, team, entry, item, outcome)
    year.caller.post(f"/v1/meetings/{meeting['id']}/close", {"carry_rest": True}, act_for=member)
    year.installation.jobs.finish()
    read_states(year)
    _check_recap(year, meeting["id"], held, sitting)
    team.meetings.append(held.figures(year, opened["items"], sitting))


@dataclass
class _Held:
    """What was decided at a meeting about each of its items, by the id of the item."""

    meeting: str
    worked: int = 0
    outcomes: dict[str, str] = field(default_factory=dict)
    decisions: set[str] = field(default_factory=set)

    def settle(
        self, year: Year, team: TeamRecord, entry: dict[str, Any], item: Expected, outcome: Outcome | None
    ) -> None:
        """Answers an agenda item as discussed, dropped or carried over to the next meeting. Records the answer for
        later comparisons.
        """
        path, state = f"/v1/agenda-items/{entry['item']}", "carried" if outcome is None else outcome.state
        if outcome is not None:
            command = {"discussed": "discuss", "carried": "carry", "dropped": "drop"}[state]
            year.caller.post(f"{path}/{command}", outcome.body, act_for=external(SPECIALIST))
            if "decision" in outcome.body:
                self.decisions.add(outcome.body["decision"])
        self.outcomes[entry["item"]] = state
        if state == "dropped":
            team.dropped.add(item.key)
        if state == "discussed" and item.kind in RESTING:
            team.resting.add(item.key)
        if state == "carried":
            team.carried[item.key] = team.carried.get(item.key, 0) + 1
        for own in team.own:
            if item.kind == "own" and own.text == item.subject and state != "carried":
                own.is_settled = True

    def figures(self, year: Year, entries: list[dict[str, Any]], sitting: Sitting) -> dict[str, Any]:
        """Returns the figures of the meeting, such as the numbers of its items, outcomes, decisions and actions."""
        return {
            "week": year.week,
            "meeting": self.meeting,
            "items": len(entries),
            **Counter(self.outcomes.values()),
            "kinds": dict(Counter(entry["kind"] for entry in entries)),
            "decisions": len(self.decisions),
            "actions": len(sitting.actions),
            "doubled": doubled(entries),
        }


def _check_recap(year: Year, meeting: str, held: _Held, sitting: Sitting) -> None:
    """Compares the recap of a meeting with what happened in it."""
    recap = year.caller.get(f"/v1/meetings/{meeting}/recap")
    shown = {entry["item"]: state for state in ("discussed", "carried", "dropped") for entry in recap[state]}
    year.require(shown == held.outcomes, f"the recap of {recap['team_name']} has other outcomes")
    decisions = {entry["decision"]["id"] for entry in recap["discussed"] if entry["decision"] is not None}
    year.require(decisions == held.decisions, f"the recap has {len(decisions)} of {len(held.decisions)} decisions")
    actions = {each["id"] for each in recap["action_items"]}
    year.require(
        actions == set(sitting.actions), f"the recap has {len(actions)} action items, not {len(sitting.actions)}"
    )


def check_series(year: Year) -> None:
    """Compares the scheduled meetings of the coming weeks with the rule of the series and the breaks."""
    for name, team in year.teams.items():
        listed = year.caller.all("/v1/meetings", team=team.id, state="scheduled")
        days = {meeting["starts_at"][:10] for meeting in listed}
        step = 1 if name == "grade" else 2
        weeks = range(1, year.week + 11, step)
        days_of_school = (year.day_of(week, 1) for week in weeks if week >= year.week and week not in OFF)
        expected = {day.isoformat() for day in days_of_school if day <= YEAR_ENDS}
        near = {day for day in days if day <= year.day_of(year.week + 10, 4).isoformat()}
        year.require(near == expected, f"{team.name} has other meetings than its rule: {sorted(near ^ expected)}")

"""Records the incidents of the simulated year, and computes the signals that they must give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from bench.year.records import IncidentRecord
from bench.year.roster import external
from bench.year.state import Year

LEAST, DAYS, COUNTED = 3, timedelta(days=30), "disruption"
"""A signal needs this many incidents of this kind within these days."""
RULE: Final = {"area": "behaviour", "least": LEAST, "days": DAYS.days, "incident_kinds": [COUNTED]}
OFTEN, OTHER_KIND, BY_MISTAKE = 5, 7, 9
"""The numbers of three students: one who is involved often, one in other kinds of incidents too, and one by mistake."""
INCIDENTS: Final[dict[int, tuple[tuple[int, str], ...]]] = {
    3: ((OFTEN, COUNTED), (OTHER_KIND, COUNTED), (BY_MISTAKE, COUNTED)),
    4: ((OFTEN, COUNTED), (OTHER_KIND, COUNTED), (BY_MISTAKE, COUNTED)),
    5: ((OFTEN, COUNTED), (OTHER_KIND, "defiance"), (BY_MISTAKE, COUNTED)),
    7: ((OFTEN, COUNTED),),
    8: ((OFTEN, COUNTED),),
    20: ((OFTEN, COUNTED), (OTHER_KIND, COUNTED)),
    21: ((OFTEN, COUNTED), (OTHER_KIND, "defiance")),
    22: ((OFTEN, COUNTED), (OTHER_KIND, "defiance")),
}
"""The incidents of each week, as the number of the student and the kind.

In week 6, the team answers the signal about the first student. The two incidents of weeks 7 and 8 are too few for a new
one, and those of weeks 20 to 22 are enough.
"""
CORRECTED: Final = 6
"""The week in which an incident is removed, because another child was meant."""


def record_incidents(year: Year) -> None:
    """Records the week's incidents in one call. All students who were involved have a row with one reference."""
    involved = INCIDENTS[year.week]
    incidents = [
        {
            "student": external(year.roster.student(number)),
            "occurred_at": f"{year.today.isoformat()}T17:40:00Z",
            "kind": kind,
            "place": "Cafeteria",
            "shared_reference": f"event-{year.week}",
            "external_id": f"incident-{year.week}-{number}",
        }
        for number, kind in involved
    ]
    results = year.caller.post("/v1/incidents/bulk", {"incidents": incidents})["results"]
    refused = {each["code"] for result in results for each in result["violations"]}
    year.require(not refused, f"incidents are refused: {refused}")
    for (number, kind), result in zip(involved, results, strict=True):
        student = year.roster.student(number)
        answers = answered_signals(year, student)
        year.incidents.append(IncidentRecord(result["incident"]["id"], student, kind, year.today, answers))


def remove_mistake(year: Year) -> None:
    """Removes an incident of a student who has a signal; the signal must then lapse."""
    suggested = year.caller.get("/v1/signals", kind="incidents", state="suggested", limit=200)["items"]
    right = {year.roster.student(number) for number in (OFTEN, BY_MISTAKE)}
    students = {year.names[each["student"]] for each in suggested}
    year.require(students == right, f"signals about incidents of {sorted(students)} instead of {sorted(right)}")
    mistake = [each for each in year.incidents if each.student == year.roster.student(BY_MISTAKE)][-1]
    year.caller.post(f"/v1/incidents/{mistake.id}/remove", {"because": "Another child was meant."})
    mistake.is_removed = True


def answered_signals(year: Year, student: str) -> int:
    """Returns how many signals about incidents of a student the teams have answered."""
    of_student = [
        each for each in year.signals.values() if each.key.kind == "incidents" and each.key.student == student
    ]
    return sum(each.state in ("accepted", "dismissed") for each in of_student)


def involved_often(year: Year) -> Iterator[str]:
    """Yields each student who must have a signal: one with enough new incidents of the rule's kind."""
    for student in sorted({each.student for each in year.incidents} - year.roster.gone):
        answers = answered_signals(year, student)
        counted = [
            each
            for each in year.incidents
            if (each.student, each.kind, each.answers, each.is_removed) == (student, COUNTED, answers, False)
            and each.occurred_on > year.today - DAYS
        ]
        if len(counted) >= LEAST:
            yield student


def ask_about_incidents(year: Year) -> tuple[set[Any], set[Any], set[Any]]:
    """Returns the incidents with student, kind and day three times: as recorded, over REST and over GraphQL."""
    kinds = {each["id"]: each["code"] for each in year.caller.get("/v1/incident-kinds")["items"]}
    read = year.caller.get("/v1/incidents", limit=200)["items"]
    document = "{ incidents(first: 200) { edges { node { student { id } kind { code } occurredOn } } } }"
    queried = [edge["node"] for edge in year.caller.query(document)["incidents"]["edges"]]
    return (
        {(each.student, each.kind, str(each.occurred_on)) for each in year.incidents if not each.is_removed},
        {(year.names[each["student"]], kinds[each["kind"]], each["occurred_on"]) for each in read},
        {(year.names[each["student"]["id"]], each["kind"]["code"], each["occurredOn"]) for each in queried},
    )

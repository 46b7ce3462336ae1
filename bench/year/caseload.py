"""Lets the teams of the simulated year answer concerns: they plan supports, form groups, dismiss and resolve."""

from __future__ import annotations

from random import Random
from typing import Final

from bench.year.beginning import accept_concern, form_group, plan_support, raise_concern
from bench.year.children import CONDUCT, FLUENCY, READ, TALK, Child, Curve, Followed, Plan
from bench.year.observing import read_states
from bench.year.records import SupportRecord
from bench.year.roster import SPECIALIST, external
from bench.year.state import Year

RATES: Final = (1.5, 0.2)
"""The growth of the students of groups that a team forms, in turn."""
GOAL_RATE: Final = 1.4


def concern_in_class(year: Year) -> None:
    """Lets a teacher raise a concern about a student who has no support yet."""
    number = year.roster.students - 1 - year.week % 7
    student = year.roster.student(number)
    if any(record.student == student for record in year.supports) or student in year.roster.gone:
        return
    raise_concern(year, student, CONDUCT, year.roster.teacher_of(number % 4 * 4))


def accept_and_plan(year: Year, concern: str) -> None:
    """Accepts a concern, and plans a support without a measure for it."""
    accept_concern(year, concern)
    plan = Plan(f"raised in {year.week}", CONDUCT, TALK, joins=year.week + 1)
    record = _add(year, plan, concern)
    plan_support(year, record, SPECIALIST)


def dismiss_concern(year: Year, concern: str) -> None:
    """Dismisses a concern."""
    year.caller.post(f"/v1/concerns/{concern}/dismiss", {"because": "It has passed."})
    year.concerns[concern].state = "dismissed"


def resolve_concern(year: Year, concern: str) -> None:
    """Resolves a concern whose last support has ended."""
    if year.concerns[concern].state == "accepted":
        year.caller.post(f"/v1/concerns/{concern}/resolve", {"because": "The goal is met."})
        year.concerns[concern].state, year.concerns[concern].unserved_since = "resolved", None


def plan_for_unserved(year: Year, concerns: list[str]) -> None:
    """Plans a support for each of these concerns that has none. Several such supports form a group."""
    planned = {record.concern for record in year.supports if not record.is_ended}
    waiting = [each for each in concerns if each not in planned]
    name = f"week {year.week}"
    is_group = len(waiting) > 1
    records = []
    for place, concern in enumerate(waiting):
        student = year.concerns[concern].student
        baseline = _last_screening(year, student)
        goal = baseline + round(GOAL_RATE * (34 - year.week))
        curve = Curve(((0, RATES[place % len(RATES)]),), 5.0)
        followed = Followed("orf", baseline, goal, curve)
        plan = Plan(
            f"{name}, {place + 1}",
            FLUENCY,
            READ,
            (followed,),
            goal_weeks=34 - year.week,
            joins=year.week + 1,
            group=name if is_group else None,
        )
        records.append(_add(year, plan, concern))
    _take_baselines(year, records)
    if is_group:
        form_group(year, name, FLUENCY, "orf", year.day_of(34, 4), records)
        year.formed += 1
    else:
        for record in records:
            plan_support(year, record, SPECIALIST)
    read_states(year)


def _add(year: Year, plan: Plan, concern: str) -> SupportRecord:
    child = Child(plan, Random(f"{year.seed}/{plan.key}"))
    record = SupportRecord(child, year.concerns[concern].student, concern=concern)
    year.supports.append(record)
    return record


def _last_screening(year: Year, student: str) -> float:
    return next(
        (scores[student] for _, scores in sorted(year.screened.items(), reverse=True) if student in scores), 40.0
    )


def _take_baselines(year: Year, records: list[SupportRecord]) -> None:
    scores = []
    for record in records:
        (followed,) = record.child.plan.measures
        for weekday in (-3, 0, 1):
            day, value = year.day(weekday), record.child.baseline(followed)
            record.scores.append((followed.measure, day, value))
            score = {"measure": followed.measure, "taken_on": day.isoformat(), "value": value, "purpose": "baseline"}
            scores.append({"student": external(record.student), **score})
    if scores:
        results = year.caller.post("/v1/scores/bulk", {"scores": scores})["results"]
        year.require(all(each["outcome"] == "recorded" for each in results), "a baseline score is refused")

"""Owns what has happened to each student by a day, and which rows that leaves: active or `tobedeleted`.

A pure function of the district, one grade of one school at a time. Never holds a collection, never writes JSON.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from app.sandbox.district import LEAVING, REGRADED, RENAMED, TRANSFERRING, District
from app.sandbox.school import School, Seat, sister

State = tuple[int, Seat | None]
"""From this day on the student sits here; None is "has left"."""


class Row(NamedTuple):
    """A record as a source keeps it: `day` is the day of its last change (0: since the school year began)."""

    record: Any
    active: bool
    day: int


def stamp(district: District, day: int) -> datetime:
    """`dateLastModified` of what changed on `day`: 03:00 UTC of that night. Day 0 is the school year's first."""
    begins = date(district.date.year - (district.date.month < 8), 8, 1)
    return datetime.combine(district.date + timedelta(days=day) if day else begins, time(3 if day else 0), UTC)


def histories(district: District, home: School, grade: int) -> Iterator[list[State]]:
    """Of each student who ever began in this grade of this school, the states up to the district's day."""
    there = sister(district.students, home)
    chances = [1 - (1 - p) ** district.day for p in (LEAVING, TRANSFERRING, RENAMED, REGRADED)]
    for number in range(home.sizes[grade]):
        seat = Seat(home, grade, number, home)
        if not district.day:
            yield [(0, seat)]
            continue
        fate = district.fate(seat.key)
        if any(number < chance for number, chance in zip(fate, chances, strict=True)):
            yield _lived(district, seat, there, fate)
        else:
            yield [(0, seat)]
    for late in range(district.entered(home, grade)):
        days = (day for day in range(1, district.day + 1) if district.on(day).entered(home, grade) > late)
        yield [(next(days), Seat(home, grade, home.sizes[grade] + late, home))]


def _lived(district: District, seat: Seat, there: School, fate: list[float]) -> list[State]:
    rates = (LEAVING, TRANSFERRING, RENAMED, REGRADED)
    left, moved, renamed, regraded = (
        _first_day(rate, one, district.day) for rate, one in zip(rates, fate, strict=True)
    )
    states: list[State] = []
    for day in sorted({0, left, moved, renamed, regraded} - {None}, key=lambda day: day or 0):
        if day is None or (left is not None and day > left):
            continue
        if day == left:
            states.append((day, None))
            continue
        moves = moved is not None and moved <= day
        changes = (one is not None and one <= day for one in (renamed, regraded))
        states.append((day, Seat(seat.home, seat.grade, seat.number, there if moves else seat.home, moves, *changes)))
    return states


def _first_day(rate: float, number: float, last: int) -> int | None:
    return next((day for day in range(1, last + 1) if number < 1 - (1 - rate) ** day), None)


def fold(states: Iterable[State], make: Callable[[Seat, int], Iterable[Any]]) -> list[Row]:
    """The rows that a student's states leave, in the order in which they came to be.

    `make` gives the student's records in one state. A record that is no longer made is `tobedeleted` from that day;
    one that is made again as it was keeps its day.
    """
    rows: dict[str, Row] = {}
    for day, seat in states:
        records = {} if seat is None else {record.sourced_id: record for record in make(seat, day)}
        for sourced_id, record in records.items():
            old = rows.get(sourced_id)
            if old is None or not old.active or old.record != record:
                rows[sourced_id] = Row(record, True, day)
        for sourced_id in rows.keys() - records.keys():
            if rows[sourced_id].active:
                rows[sourced_id] = rows[sourced_id]._replace(active=False, day=day)
    return list(rows.values())

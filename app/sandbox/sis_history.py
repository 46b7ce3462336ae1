"""Computes each student's history up to a simulated day, and the OneRoster rows that result from the history.

A row whose record no longer exists is kept with the status `tobedeleted`. Does no input or output. The histories are
computed for one grade of one school at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from app.sandbox.district import LEAVING, REGRADED, RENAMED, TRANSFERRING, District
from app.sandbox.school import School, Seat, next_school

State = tuple[int, Seat | None]
"""A state in a student's history: the day on which it begins, and the student's seat from that day on.

The seat is None if the student has left.
"""


class Row(NamedTuple):
    """A record as a SIS stores it, with the day of its last change; day 0 is the beginning of the school year."""

    record: Any
    active: bool
    day: int


def stamp(district: District, day: int) -> datetime:
    """Returns the `dateLastModified` of a change on a day: 03:00 UTC of that day.

    For day 0, the first day of the school year, it is 00:00 UTC.
    """
    begins = date(district.date.year - (district.date.month < 8), 8, 1)
    return datetime.combine(district.date + timedelta(days=day) if day else begins, time(3 if day else 0), UTC)


def histories(district: District, home: School, grade: int) -> Iterator[list[State]]:
    """Yields the history of each student who was generated in this grade of the school `home`.

    Students who entered the grade on a later day are included. A history is the list of the student's states, from the
    first state to the state on the district's simulated day.
    """
    later_school = next_school(district.students, home)
    chances = [1 - (1 - p) ** district.day for p in (LEAVING, TRANSFERRING, RENAMED, REGRADED)]
    for number in range(home.sizes[grade]):
        seat = Seat(home, grade, number, home)
        if not district.day:
            yield [(0, seat)]
            continue
        thresholds = district.change_thresholds(seat.key)
        if any(number < chance for number, chance in zip(thresholds, chances, strict=True)):
            yield _states_of(district, seat, later_school, thresholds)
        else:
            yield [(0, seat)]
    for late in range(district.entered(home, grade)):
        days = (day for day in range(1, district.day + 1) if district.on(day).entered(home, grade) > late)
        yield [(next(days), Seat(home, grade, home.sizes[grade] + late, home))]


def _states_of(district: District, seat: Seat, later_school: School, thresholds: list[float]) -> list[State]:
    rates = (LEAVING, TRANSFERRING, RENAMED, REGRADED)
    leaving, moved, renamed, regraded = (
        _first_day(rate, number, district.day) for rate, number in zip(rates, thresholds, strict=True)
    )
    states: list[State] = []
    for day in sorted({0, leaving, moved, renamed, regraded} - {None}, key=lambda day: day or 0):
        if day is None or (leaving is not None and day > leaving):
            continue
        if day == leaving:
            states.append((day, None))
            continue
        moves = moved is not None and moved <= day
        changes = (changed_on is not None and changed_on <= day for changed_on in (renamed, regraded))
        states.append(
            (day, Seat(seat.home, seat.grade, seat.number, later_school if moves else seat.home, moves, *changes))
        )
    return states


def _first_day(rate: float, number: float, last: int) -> int | None:
    return next((day for day in range(1, last + 1) if number < 1 - (1 - rate) ** day), None)


def fold(states: Iterable[State], make: Callable[[Seat, int], Iterable[Any]]) -> list[Row]:
    """Returns the rows that result from a student's states, in the order in which the rows were created.

    `make` returns the student's records in one state. A record that is missing from a later state is `tobedeleted` from
    the day of that state on. If a record is unchanged in a later state, the day of its last change stays the same.
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

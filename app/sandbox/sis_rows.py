"""Lists the rows of each collection, block by block.

A block usually has the rows of one grade of one school, or of one school's staff. Rows are generated on demand. Memory
holds only a list of blocks (nine for each 1,000 students), a count for each block, and the rows of the last few blocks.
After the first search for a row by its id, there is also an index with twelve bytes for each row of that kind.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from app.sandbox import sis_gradebook as gradebook
from app.sandbox.district import District
from app.sandbox.oneroster import AcademicSession
from app.sandbox.school import School, Seat, adults, posts, schools
from app.sandbox.sis_history import Row, State, fold, histories
from app.sandbox.sis_quirks import Quirks

CACHED_BLOCKS = 32
WHOLE = {"orgs", "academicSessions", "courses", "categories", "assessmentLineItems"}
ROOMS = {"classes", "enrollments", "lineItems", "scoreScales"}
SEATS = {"users", "enrollments", "demographics", "results", "assessmentResults"}


class Block(NamedTuple):
    """A group of rows of one collection that are generated together, such as the staff of one school.

    `part` says which rows these are. A block of the part `staff` has a `school`. A block of the part `rooms` (the
    classes) or `seats` (the students) has a `school` and a `grade`. Blocks of other parts have neither.
    """

    part: str  # "whole", "office", "staff", "rooms" or "seats"
    school: School | None = None
    grade: int = 0


class Rows:
    """The collections of rows that the sandbox SIS serves for a district on one day."""

    def __init__(self, district: District, quirks: Quirks) -> None:
        self.district, self.quirks = district, quirks
        every = list(schools(district.students))
        self.schools = every
        self.staff = [Block("office"), *(Block("staff", school) for school in every)]
        self.rooms = [Block("rooms", school, grade) for school in every for grade in range(len(school.sizes))]
        self.seats = [Block("seats", school, grade) for school in every for grade in range(len(school.sizes))]
        self._indexes: dict[str, tuple[Any, Any, Sequence[Block]]] = {}
        self._marks = [gradebook.day_of(number) for number in range(gradebook.line_items_by(district.day))]
        self._children: dict[str, dict[str, list[str]]] = {}
        self._cached = lru_cache(CACHED_BLOCKS)(self._made)

    def blocks(self, kind: str) -> list[Block]:
        """Returns the blocks of a collection in the order in which they are served."""
        if kind in WHOLE:
            return [Block("whole")]
        staff = self.staff if kind == "users" else []
        return staff + (self.rooms if kind in ROOMS else []) + (self.seats if kind in SEATS else [])

    def of(self, kind: str, block: Block, since: int = -1) -> Iterable[Row]:
        """Returns the rows of the collection `kind` that belong to a block, which is a fixed part of the district.

        With `since`, rows that last changed on day `since` or before may be left out.
        """
        if since < 0:
            return self._cached(kind, block)
        if block.part != "seats":
            return () if since >= self.district.day else self._cached(kind, block)
        return self._seated(kind, block, since)

    def count(self, kind: str, block: Block) -> int:
        """Returns the number of rows of a block. If possible, the number is calculated without generating the rows."""
        if block.school is None or self.quirks.change_rows:
            return len(self._cached(kind, block))
        if block.part == "rooms":
            school, grade = block.school, block.grade
            rooms = [
                (subject, section) for subject in school.level.subjects for section in range(school.sections[grade])
            ]
            if kind == "enrollments":
                return sum(1 for class_ in rooms for _ in adults(school, grade, *class_))
            return len(rooms) * (gradebook.line_items_by(self.district.day) if kind == "lineItems" else 1)
        if block.part == "staff":
            return sum(1 for _ in posts(block.school))
        students = block.school.sizes[block.grade] + self.district.entered(block.school, block.grade)
        if kind in ("users", "demographics"):
            return students
        if kind == "assessmentResults":
            return students * len(gradebook.SCREENINGS)
        rows_each = len(block.school.level.subjects)
        rows_each *= gradebook.line_items_by(self.district.day) if kind == "results" else 1
        if not self.district.day:
            return students * rows_each
        # A student who moved or left has more or fewer rows than one who stayed.
        lives = histories(self.district, block.school, block.grade)
        return sum(rows_each if len(states) == 1 else len(self._of_life(kind, states)) for states in lives)

    def children(self, kind: str, sourced_id: str) -> list[str]:
        """Returns the ids of the orgs directly under an org, or of the sessions directly under a session."""
        if kind not in self._children:
            below: dict[str, list[str]] = {}
            for row in self._made(kind, Block("whole")):
                below.setdefault(row.record.parent_sourced_id or "", []).append(row.record.sourced_id)
            self._children[kind] = below
        return self._children[kind].get(sourced_id, [])

    def find(self, kind: str, sourced_id: str) -> Row | None:
        """Returns the row with this id, or None.

        Depending on the kind, the id itself tells which block contains the row, or the block is looked up in an index.
        """
        for block in self.where(kind, sourced_id):
            for row in self._cached(kind, block):
                if row.record.sourced_id == sourced_id:
                    return row
        return None

    def where(self, kind: str, sourced_id: str) -> Sequence[Block]:
        """Returns the few blocks in which the row with this id may be.

        It is possible that none of them contains the row. The caller must search the blocks.
        """
        if kind in WHOLE:
            return [Block("whole")]
        if kind in ("lineItems", "scoreScales"):
            return self.where("classes", sourced_id[: gradebook.ID])
        if kind in ("results", "assessmentResults"):
            return [block for block in self.where("users", sourced_id[-gradebook.ID :]) if block.part == "seats"]
        keys, places, blocks = self._index(kind)
        key = hash(sourced_id[: gradebook.ID])  # a suffix that a quirk adds to an id does not matter
        first, last = np.searchsorted(keys, key), np.searchsorted(keys, key, side="right")
        return [blocks[place] for place in dict.fromkeys(places[first:last].tolist())]

    def _index(self, kind: str) -> tuple[Any, Any, Sequence[Block]]:
        if kind not in self._indexes:
            blocks = self.blocks(kind)
            ids = (
                (sourced_id[: gradebook.ID], place)
                for place, block in enumerate(blocks)
                for sourced_id in self._ids(kind, block)
            )
            entries = np.fromiter(
                ((hash(prefix), place) for prefix, place in ids), dtype=[("key", "i8"), ("place", "i4")]
            )
            entries.sort(order="key")
            self._indexes[kind] = entries["key"].copy(), entries["place"].copy(), blocks
        return self._indexes[kind]

    def _ids(self, kind: str, block: Block) -> Iterator[str]:
        plain = kind in ("users", "demographics") and not self.quirks.change_rows
        if plain and block.school is not None and block.part == "seats":
            students = block.school.sizes[block.grade] + self.district.entered(block.school, block.grade)
            for number in range(students):
                yield self.district.student_id(Seat(block.school, block.grade, number, block.school))
        else:
            yield from (row.record.sourced_id for row in self._made(kind, block))

    def _made(self, kind: str, block: Block) -> tuple[Row, ...]:
        if block.part == "seats":
            return tuple(self._seated(kind, block, -1))
        rows = (Row(record, True, _day(kind, record)) for record in self._constant_records(kind, block))
        return tuple(self.quirks.rows(self.district, kind, rows))

    def _constant_records(self, kind: str, block: Block) -> Iterator[Any]:
        """Yields the records of a block that is not about students, such as the staff or the classes of a school.

        The records never change, except that line items are added from day to day.
        """
        district, school = self.district, block.school
        if school is None:
            yield from self._districts_own(kind)
        elif block.part == "staff":
            for user in district.staff_of(school):
                yield from self.quirks.users(user)
        elif kind == "enrollments":
            yield from map(self.quirks.enrollment, district.adult_enrollments_of(school, block.grade))
        else:
            for class_ in district.classes_of(school, block.grade):
                if kind == "lineItems":
                    yield from gradebook.line_items(district, class_)
                else:
                    yield gradebook.score_scale(class_) if kind == "scoreScales" else class_

    def _districts_own(self, kind: str) -> Iterator[Any]:
        match kind:
            case "users":
                yield from self.quirks.users(next(self.district.staff()))
            case "orgs":
                yield from self.district.orgs()
            case "courses":
                yield from self.district.courses()
            case "categories":
                yield from gradebook.categories()
            case "assessmentLineItems":
                yield from gradebook.assessment_line_items()
            case _:
                yield from _sessions(self.district)

    def _seated(self, kind: str, block: Block, since: int) -> Iterator[Row]:
        if block.school is None:
            return
        for states in histories(self.district, block.school, block.grade):
            # The results of all students change on the day of the last line item.
            last = max(states[-1][0], self._marks[-1] if kind == "results" else 0)
            if last > since:
                yield from self.quirks.rows(self.district, kind, self._of_life(kind, states))

    def _of_life(self, kind: str, states: list[State]) -> list[Row]:
        marked = _with_line_item_days(states, self._marks) if kind == "results" else states
        return fold(marked, lambda seat, day: self._of_student(kind, seat, day))

    def _of_student(self, kind: str, seat: Seat, day: int) -> Iterable[Any]:
        district = self.district
        match kind:
            case "users":
                return self.quirks.users(district.student(seat))
            case "enrollments":
                return self.quirks.enrollments(seat, map(self.quirks.enrollment, district.enrollments_of(seat)))
            case "demographics":
                return (district.demographics_of(seat),)
            case "results":
                enrolled = map(self.quirks.enrollment, district.enrollments_of(seat))
                return map(self.quirks.result, gradebook.results(district, enrolled, day))
            case _:
                return gradebook.assessment_results(district, seat)


def _with_line_item_days(states: list[State], days: list[int]) -> list[State]:
    """Adds a state to a student's history for each of `days` on which the student was enrolled.

    Returns the new history. `days` are the days on which classes got line items. From such a day on, the student has a
    result in each new line item.
    """
    marked = dict(states)
    for day in sorted({*days} - marked.keys()):
        earlier = [seat for since, seat in states if since <= day]
        if earlier and earlier[-1] is not None:
            marked[day] = earlier[-1]
    return sorted(marked.items(), key=lambda state: state[0])


def _day(kind: str, record: Any) -> int:
    return gradebook.day_of(int(record.sourced_id[gradebook.ID + 1 :])) if kind == "lineItems" else 0


def _sessions(district: District) -> Iterator[AcademicSession]:
    """Yields the three sessions of the CSV export, and two grading periods in each semester.

    Only the API serves the grading periods.
    """
    for session in district.academic_sessions():
        yield session
        if session.type != "semester":
            continue
        middle = session.start_date + (session.end_date - session.start_date) / 2
        for half, (starts, ends) in enumerate(((session.start_date, middle), (middle, session.end_date)), 1):
            period = replace(session, sourced_id=f"{session.sourced_id}Q{half}", title=f"{session.title}, Q{half}")
            yield replace(
                period, type="gradingPeriod", start_date=starts, end_date=ends, parent_sourced_id=session.sourced_id
            )

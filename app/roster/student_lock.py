"""Locks students' rows. Every transaction locks a student before it writes a row about the student.

* Rows are locked in the order of ids, and read again once they are locked. A new row about a student has a copy of the
  student's `school_ids`. The caller must copy them from the values that these functions return, because a value that
  was read before the lock may be out of date.
* A transaction with several commands locks the students of all its commands before it runs the first one. The ids in
  `Work.named_subjects` say which students these are. Teams are locked before students. Groups, meetings and the other
  kinds of rows in `AFTER_STUDENTS` are locked after students.
* A sync locks people in the same way before it changes them, so a command and a sync never write about one student at
  the same time.

The functions check no permission, because the calling command has checked its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, any_, cast, select
from sqlalchemy.orm import InstrumentedAttribute

from app.access.work import Work
from app.core import ids
from app.core.db import Base
from app.core.errors import Invalid, NotFound
from app.core.faults import ChangedMeanwhile
from app.events.reminders import Reminder
from app.roster.lookup import IdList, find_row, ids_by_alias, people_by_name
from app.roster.models import AboutStudent, MayBeAboutStudent, Person
from app.roster.references import SIS, Reference, parse

About = TypeVar("About", bound=AboutStudent)
MaybeAbout = TypeVar("MaybeAbout", bound=MayBeAboutStudent)

OF_TEAM: Final = ("team_scope", "team_member", "meeting")
"""The tables whose rows belong to a team. A command on such a row locks the team."""
STUDENTS_OF: Final = (
    ("team", "team_student", "team_id"),
    ("group", "group_member", "group_id"),
    ("meeting", "agenda_item", "meeting_id"),
)
"""The kinds of rows that have students. A command on such a row locks its students.

Each entry has the kind, the table that lists the students, and the column of this table that refers to the row.
"""
AFTER_STUDENTS: Final = (
    ("group", "support_group"),
    ("meeting_series", "meeting_series"),
    ("meeting", "meeting"),
    ("agenda_item", "agenda_item"),
    ("action_item", "action_item"),
    ("note", "note"),
)
"""The kinds of rows that are locked after students, with their tables, in the order in which they are locked."""
IdsByKind = Mapping[str, Collection[UUID]]


async def lock_student(work: Work, name: str, pointer: str | None = None) -> Person:
    """Locks and returns the student whose id or external id is `name`.

    If there is no such student, raises `Invalid` at `pointer`, or `NotFound` if `pointer` is None.
    """
    await lock_named_subjects(work)
    reference = parse("student", name, pointer)
    student = await find_row(work, Person, reference, pointer, Person.is_student.is_(True), lock=True)
    work.locked_students.add(student.id)
    return student


async def lock_students_by_name(work: Work, names: Iterable[str]) -> dict[str, Person]:
    """Locks the students whose ids or external ids are `names`. Returns the students, keyed by these names.

    A student whom the caller may not see is left out.
    """
    await lock_named_subjects(work)
    students = await people_by_name(work, names, students=True, lock=True)
    work.locked_students |= {student.id for student in students.values()}
    return students


LOCKED_STUDENTS = """locked AS MATERIALIZED (
    SELECT person.id, person.school_ids, person.removed_at FROM person
    WHERE person.district_id = $1 AND person.id = ANY ($2::uuid[]) AND person.is_student
    ORDER BY person.id FOR NO KEY UPDATE)"""
"""An SQL common table expression, to be used after WITH. It locks the students with the ids `$2` of the district `$1`.

It takes the same kind of lock as `lock_students`.
"""


class LockedStudent(NamedTuple):
    """A student in the result of the SQL `LOCKED_STUDENTS`, which locks students."""

    id: UUID
    school_ids: list[UUID]
    removed_at: datetime | None


def note_locked(work: Work, students: Iterable[Sequence[Any]]) -> dict[UUID, LockedStudent]:
    """Records that students are locked, and that the caller was shown them. Returns the students, keyed by id.

    `students` are the rows that a statement with the SQL `LOCKED_STUDENTS` returned.
    """
    locked = {student[0]: LockedStudent(*student) for student in students}
    work.locked_students |= locked.keys()
    work.disclose("student", locked)
    return locked


async def lock_students(
    work: Work, student_ids: Collection[UUID], *, wait: bool = True
) -> dict[UUID, tuple[UUID, ...]]:
    """Locks these students and returns the ids of their schools, keyed by student.

    A student who does not exist is left out. If `wait` is false, a student whom another transaction has locked is left
    out too.
    """
    if not student_ids:
        return {}
    query = _locking(work, Person.id == any_(cast(sorted(set(student_ids)), IdList)), wait=wait)
    rows = await work.db.execute(query)
    schools = {student_id: tuple(school_ids) for student_id, school_ids in rows}
    work.locked_students |= schools.keys()
    return schools


async def skip_busy_students(work: Work, reminders: Sequence[Reminder]) -> list[Reminder]:
    """Locks the students of reminders without waiting, and returns the reminders whose students could be locked.

    The returned reminders have the current schools of their students. The other reminders stay unsent until the next
    maintenance run, which finds them again. Waiting could cause a deadlock, because reminders of several kinds are sent
    in one transaction.
    """
    students = {reminder.event.student_id for reminder in reminders if reminder.event.student_id is not None}
    schools = await lock_students(work, students, wait=False)
    return [
        replace(reminder, event=replace(reminder.event, school_ids=schools[reminder.event.student_id]))
        for reminder in reminders
        if reminder.event.student_id in schools
    ]


async def lock_student_of(
    work: Work, model: type[About], column: InstrumentedAttribute[UUID], row_id: UUID
) -> About | None:
    """Locks the student whom a row is about; then reads and returns the row.

    It is the row of `model` whose `column` is `row_id`. Returns None if the row does not exist or the caller may not
    see it.
    """
    await lock_named_subjects(work)
    is_row = (model.district_id == work.district_id, column == row_id)
    student_of_row = select(model.student_id).where(*is_row).scalar_subquery()
    student_id = await work.db.scalar(_locking(work, Person.id == student_of_row))
    if student_id is None:
        return None
    work.locked_students.add(student_id)
    query = select(model).where(*is_row, model.student_id == student_id)
    return await work.db.scalar(query.execution_options(populate_existing=True))


async def lock_newcomers(work: Work, student_ids: Collection[UUID]) -> None:
    """Locks students after a row that refers to them, such as a group, was locked.

    Normally students are locked before such a row; `AFTER_STUDENTS` lists the kinds. Students who are locked already
    are skipped. This function does not wait, because waiting for locks in the wrong order could cause a deadlock.
    Raises `ChangedMeanwhile` if another transaction has locked one of the students.
    """
    missing = set(student_ids) - work.locked_students
    if missing - set(await lock_students(work, missing, wait=False)):
        raise ChangedMeanwhile(missing | work.locked_students)


async def lock_row_after_student(work: Work, model: type[MaybeAbout], row_id: UUID) -> MaybeAbout | None:
    """Locks and returns a row. If the row is about a student, locks the student first.

    Returns None if the row does not exist or the caller may not see it.
    """
    await lock_named_subjects(work)
    is_row = (model.district_id == work.district_id, model.id == row_id)
    student_id = await work.db.scalar(select(model.student_id).where(*is_row))
    if student_id is not None:
        await lock_students(work, [student_id])
    query = select(model).where(*is_row).with_for_update(key_share=True)
    return await work.db.scalar(query.execution_options(populate_existing=True))


def _locking(work: Work, which: ColumnElement[bool], *, wait: bool = True) -> Select[UUID, list[UUID]]:
    # FOR NO KEY UPDATE, because with a shared lock two commands about one student could deadlock in other tables, which
    # they lock in no fixed order. Foreign keys to the student do not wait for it.
    people = select(Person.id, Person.school_ids).where(Person.district_id == work.district_id, which)
    return people.order_by(Person.id).with_for_update(key_share=True, skip_locked=not wait)


async def lock_named_subjects(work: Work) -> None:
    """Locks every student to whom `work.named_subjects` refers, before the first command of the transaction.

    A subject is the id or external id of a student, or the id of a row about a student. A subject that does not exist,
    or that the caller may not see, is skipped; the command that uses it reports the error. Later calls in the
    transaction do nothing.

    Also locks the rows to which `work.named_rows` refers: teams before the students; groups, meetings and the other
    kinds of rows in `AFTER_STUDENTS` after the students.

    Also locks `work.late_students`, which an earlier attempt of this transaction could not lock in time.
    """
    db, names, rows_by_kind = work.db, work.named_subjects, _ids_by_kind(work.named_rows)
    work.named_subjects = work.named_rows = frozenset()
    late, work.late_students = work.late_students, frozenset()
    if not names and not rows_by_kind and not late:
        return
    await _lock_named_teams(work, rows_by_kind)
    ids_by_kind, references = _ids_by_kind(names), list[Reference]()
    for name in names:
        with suppress(Invalid, NotFound):
            if name.startswith(SIS):
                references.append(parse("student", name))
    students = ids_by_kind["student"] | set((await ids_by_alias(work, references)).values())
    students |= await _students_of_named(work, rows_by_kind)
    for mapper in Base.registry.mappers:
        model, row_ids = mapper.class_, ids_by_kind.get(mapper.persist_selectable.description)
        if row_ids and "student_id" in mapper.columns:
            rows = select(model.student_id).where(
                model.district_id == work.district_id,
                mapper.columns["id"] == any_(cast(list(row_ids), IdList)),
                model.student_id.is_not(None),
            )
            students |= set(await db.scalars(rows))
    await (_lock_with_late(work, students, late) if late else lock_students(work, students))
    await _lock_named_rows(work, rows_by_kind)


async def _lock_with_late(work: Work, student_ids: Collection[UUID], late: Collection[UUID]) -> None:
    """Locks the students in `student_ids` that the caller may see, and all students in `late`.

    `late` can have students that the caller may not see, for example if a team serves a class with students of
    several schools.
    """
    query = select(Person.id).where(
        Person.district_id == work.district_id, Person.id == any_(cast(sorted(student_ids), IdList))
    )
    visible = set(await work.db.scalars(query))
    async with work.as_district("late students"):
        await lock_students(work, visible | set(late))


def _ids_by_kind(names: Iterable[str]) -> defaultdict[str, set[UUID]]:
    """Returns the ids among these names, keyed by the kind of row that they identify. Other names are left out."""
    ids_by_kind = defaultdict[str, set[UUID]](set)
    for name in names:
        with suppress(Invalid, NotFound):
            kind, row_id = ids.parse_any_id(name)
            ids_by_kind[kind].add(row_id)
    return ids_by_kind


async def _lock_named_teams(work: Work, ids_by_kind: IdsByKind) -> None:
    """Locks the teams to which a request refers, in the order of their ids.

    The request may name a team itself, or a row that belongs to it, such as a meeting.
    """
    teams = set(ids_by_kind.get("team", ()))
    for kind in OF_TEAM:
        table, row_ids = _table(kind), ids_by_kind.get(kind)
        if row_ids:
            teams |= set(await work.db.scalars(select(table.c.team_id).where(*_are(work, table.c.id, table, row_ids))))
    await _lock_rows(work, "team", teams)


async def _students_of_named(work: Work, ids_by_kind: IdsByKind) -> set[UUID]:
    """Returns the students who belong to the teams, groups and meetings to which a request refers."""
    students = set[UUID]()
    for kind, name, column in STUDENTS_OF:
        table, row_ids = _table(name), ids_by_kind.get(kind)
        if row_ids:
            query = select(table.c.student_id).where(*_are(work, table.c[column], table, row_ids))
            students |= set(await work.db.scalars(query.where(table.c.student_id.is_not(None))))
    return students


async def _lock_named_rows(work: Work, ids_by_kind: IdsByKind) -> None:
    """Locks the groups, meetings and other rows to which a request refers, after their students were locked.

    `AFTER_STUDENTS` lists the kinds of these rows. The tables are locked in the order of this list, and the rows of a
    table in the order of their ids.
    """
    for kind, name in AFTER_STUDENTS:
        await _lock_rows(work, name, ids_by_kind.get(kind, ()))


async def _lock_rows(work: Work, name: str, row_ids: Collection[UUID]) -> None:
    if row_ids:
        table = _table(name)
        query = select(table.c.id).where(*_are(work, table.c.id, table, row_ids)).order_by(table.c.id)
        await work.db.execute(query.with_for_update(key_share=True))


def _are(work: Work, column: Any, table: Table, row_ids: Collection[UUID]) -> tuple[Any, ...]:
    return table.c.district_id == work.district_id, column == any_(cast(sorted(row_ids), IdList))


def _table(name: str) -> Table:
    return Base.metadata.tables[name]

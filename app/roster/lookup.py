"""Looks up roster rows for commands.

The functions use the caller's unit of work. They check no permission, because the commands that call them have already
done so.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, Literal, TypeVar
from typing import cast as cast_type
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, cast, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import InstrumentedAttribute

from app.access.listing import ListedBySchool, page_of_schools
from app.access.models import District, TestClock
from app.access.principal import Reach
from app.access.work import Work
from app.core.clock import today_in
from app.core.errors import Invalid, NotFound, Violation
from app.core.page import Keyset, Page
from app.roster.models import AboutStudent, ExternalId, FromSource, Person, Source
from app.roster.references import ALIAS_KINDS, Reference, parse

Row = TypeVar("Row", bound=FromSource)
About = TypeVar("About", bound=AboutStudent)
IdList = ARRAY(PgUUID)
NamedKind = Literal["student", "person", "class"]
"""The kinds of rows that a request may name by an id or by an external id."""


def within_reach(work: Work, column: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """Returns an SQL condition that restricts a list to the principal's caseload, by the student's id in `column`.

    It lets PostgreSQL use an index, and applies in addition to row-level security. For a principal without a caseload,
    it is always true.
    """
    if work.principal.reach is not Reach.CASELOAD:
        return true()
    return column == any_(cast(list(work.principal.students), IdList))


def named_students(work: Work, model: Any) -> ColumnElement[bool] | None:
    """Returns an SQL condition for rows about the students whom the principal may see individually, at any school.

    These are the students of the principal's teams or caseload. If a list is restricted to schools, the rows about
    these students are still included. Returns None if the principal has no such students.
    """
    if not work.principal.names_students:
        return None
    column = Person.id if model is Person else model.student_id
    named: ColumnElement[bool] = column == any_(cast(list(work.principal.students), IdList))
    return named


async def locate_student(work: Work, name: str, pointer: str | None = None) -> Person:
    """Returns the student with this id or external id.

    If there is no such student, raises `Invalid` at `pointer`, or `NotFound` if `pointer` is None.
    """
    return await find_row(work, Person, parse("student", name, pointer), pointer, Person.is_student.is_(True))


async def locate_staff(work: Work, name: str, pointer: str | None = None) -> Person:
    """Returns the member of staff with this id or external id.

    If there is no such person, raises `Invalid` at `pointer`, or `NotFound` if `pointer` is None.
    """
    return await find_row(work, Person, parse("person", name, pointer), pointer, Person.is_student.is_(False))


async def locate_present_staff(work: Work, name: str, pointer: str) -> Person:
    """Returns the member of staff with this id or external id, who must be on the roster.

    Raises `Invalid` at `pointer` if there is no such person, or if the person has left or is disabled.
    """
    person = await locate_staff(work, name, pointer)
    if person.removed_at is not None or not person.enabled:
        raise Invalid([Violation(pointer, "person.departed", "This person is not on the roster any more.")])
    return person


async def resolve_actor(work: Work, name: str | None, pointer: str) -> UUID | None:
    """Returns the id of the person to whom an action is attributed.

    It is the person with the id `name`, or the acting person if `name` is None. A request that acts for a person cannot
    attribute an action to another person: this raises `Invalid` at `pointer`.
    """
    acting_person_id = work.principal.person_id
    if name is None:
        return acting_person_id
    person = await locate_staff(work, name, pointer)
    if acting_person_id is not None and person.id != acting_person_id:
        detail = "A request that acts for a person cannot put this down to another."
        raise Invalid([Violation(pointer, "person.another", detail)])
    return person.id


async def people_by_name(work: Work, names: Iterable[str], *, students: bool, lock: bool = False) -> dict[str, Person]:
    """Returns the students, or with `students=False` the staff, that `names` identify. The keys are the names as given.

    A name is a public id or an external id. Unknown names are left out. Executes two statements for any number of
    names. Only the module `student_lock` may set `lock`.
    """
    ids_by_name = await ids_of_names(work, names, "student" if students else "person")
    query = select(Person).where(
        Person.district_id == work.district_id,
        Person.id == any_(cast(list(ids_by_name.values()), IdList)),
        Person.is_student.is_(students),
    )
    people = {person.id: person for person in await work.db.scalars(_locked(query.order_by(Person.id), lock=lock))}
    if students:
        work.disclose("student", people)
    return {name: people[row_id] for name, row_id in ids_by_name.items() if row_id in people}


async def ids_of_names(work: Work, names: Iterable[str], kind: NamedKind) -> dict[str, UUID]:
    """Converts names of rows of one kind to the UUIDs of the rows. The keys are the names as given.

    A name is a public id or an external id. External ids are looked up with one statement, and unknown ones are left
    out. A public id is converted without a check that its row exists.
    """
    references: dict[str, Reference] = {}
    for name in set(names):
        with suppress(NotFound):
            references[name] = parse(kind, name)
    row_ids = await ids_by_alias(work, [reference for reference in references.values() if reference.id is None])
    ids_by_name = {
        name: reference.id or row_ids.get((reference.source, reference.sourced_id))
        for name, reference in references.items()
    }
    return {name: row_id for name, row_id in ids_by_name.items() if row_id is not None}


async def zone_of(work: Work) -> str:
    """Returns the district's time zone by its IANA name. It is read at most once in each unit of work."""
    zone, _ = await _clock_of(work)
    return zone


async def today_of(work: Work) -> date:
    """Returns today's date in the district's time zone, or the date to which a sandbox's test clock was moved."""
    zone, moved_to = await _clock_of(work)
    return moved_to or today_in(zone)


async def moved_day_of(work: Work) -> date | None:
    """Returns the date to which a sandbox's test clock was moved, or None if the district uses the real date."""
    _, moved_to = await _clock_of(work)
    return moved_to


def keep_clock(work: Work, zone: str, moved_to: date | None) -> None:
    """Stores the district's time zone and the date of its test clock in the unit of work, so that they are read only
    once.
    """
    work.db.info["clock"] = zone, moved_to


def forget_clock(work: Work) -> None:
    """Makes this unit of work read the test clock again. It must be called after the clock has been moved."""
    work.db.info.pop("clock", None)


async def _clock_of(work: Work) -> tuple[str, date | None]:
    cache: dict[str, tuple[str, date | None]] = work.db.info
    if "clock" not in cache:
        moved_to = select(TestClock.today).where(TestClock.district_id == work.district_id).scalar_subquery()
        query = select(District.time_zone, moved_to.label("today")).where(District.district_id == work.district_id)
        row = (await work.db.execute(query)).one_or_none()
        if row is None:
            raise NotFound("district")
        cache["clock"] = row.time_zone, row.today
    return cache["clock"]


async def rows_of_students(
    work: Work, model: type[About], kind: str, student_ids: Sequence[UUID], order: InstrumentedAttribute[UUID]
) -> dict[UUID, list[About]]:
    """Returns all rows of a model about these students, in the given order and keyed by student.

    The students are noted in the disclosure log.
    """
    rows = await work.db.scalars(
        select(model)
        .where(model.district_id == work.district_id, model.student_id == any_(cast(list(student_ids), IdList)))
        .order_by(order)
    )
    rows_by_student: dict[UUID, list[About]] = {student_id: [] for student_id in student_ids}
    for row in rows:
        rows_by_student[row.student_id].append(row)
    work.disclose(kind, (student_id for student_id, rows_of in rows_by_student.items() if rows_of))
    return rows_by_student


async def page_by_id(
    work: Work,
    keyset: Keyset,
    query: Select[Any],
    column: InstrumentedAttribute[UUID],
    schools: Sequence[UUID] | None = None,
) -> Page[Any]:
    """Returns a page of a query's rows in the order of their ids, which is the order of creation.

    `column` is the column of the id. If `schools` is given, the rows are restricted to these schools.
    """
    if keyset.after is not None:
        query = query.where(column > keyset.after_id())
    if schools is not None:
        model = cast_type(type[ListedBySchool], column.class_)
        query = page_of_schools(query, model, (column,), schools, keyset.limit + 1, named_students(work, model))
    rows = (await work.db.scalars(query.order_by(column).limit(keyset.limit + 1))).all()
    return keyset.cut(rows, lambda row: (str(row.id),))


async def find_row(
    work: Work,
    model: type[Row],
    reference: Reference,
    pointer: str | None,
    *also: ColumnElement[bool],
    lock: bool = False,
) -> Row:
    """Returns the row to which a reference (an id or an external id) refers.

    If there is no such row, raises `Invalid` at `pointer`, or `NotFound` if `pointer` is None. Only the module
    `student_lock` may set `lock`.
    """
    query = select(model).where(model.district_id == work.district_id, *also)
    if reference.id is not None:
        query = query.where(model.id == reference.id)
    else:
        query = query.where(model.id == _alias_of(work, reference))
    row = await work.db.scalar(_locked(query, lock=lock))
    if row is None:
        if pointer is None:
            raise NotFound(reference.kind)
        detail = f"There is no such {reference.kind} within this caller's reach."
        raise Invalid([Violation(pointer, f"{reference.kind}.unknown", detail)])
    if isinstance(row, Person) and row.is_student:
        work.disclose("student", [row.id])
    return row


def _locked(query: Select[Row], *, lock: bool) -> Select[Row]:
    """Returns the query unchanged, or, with `lock`, a query that locks the selected rows.

    The locking query returns the values that the rows have once they are locked, even for rows that the session has
    already loaded.
    """
    if not lock:
        return query
    return query.with_for_update(key_share=True).execution_options(populate_existing=True)


async def ids_by_alias(work: Work, references: list[Reference]) -> dict[tuple[str, str], UUID]:
    """Returns the row ids of these external ids, keyed by source and `sourcedId`.

    All references must be of one kind.
    """
    db = work.db
    if not references:
        return {}
    rows = await db.execute(
        select(Source.name, ExternalId.sourced_id, ExternalId.row_id)
        .join(Source, (Source.district_id == ExternalId.district_id) & (Source.id == ExternalId.source_id))
        .where(
            ExternalId.district_id == work.district_id,
            Source.district_id == work.district_id,
            ExternalId.kind == ALIAS_KINDS[references[0].kind],
            tuple_(Source.name, ExternalId.sourced_id).in_([(name.source, name.sourced_id) for name in references]),
        )
    )
    return {(source, sourced_id): row_id for source, sourced_id, row_id in rows}


def _alias_of(work: Work, reference: Reference) -> Any:
    return (
        select(ExternalId.row_id)
        .join(Source, (Source.district_id == ExternalId.district_id) & (Source.id == ExternalId.source_id))
        .where(
            ExternalId.district_id == work.district_id,
            Source.district_id == work.district_id,
            Source.name == reference.source,
            ExternalId.kind == ALIAS_KINDS[reference.kind],
            ExternalId.sourced_id == reference.sourced_id,
        )
        .scalar_subquery()
    )

"""Owns how commands find roster rows. Opens no session itself: it works within the permission of whoever calls."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from typing import cast as cast_type
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, cast, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import InstrumentedAttribute

from app.access.listing import ListedBySchool, page_of_schools
from app.access.models import District
from app.access.principal import Reach
from app.access.work import Work
from app.core.errors import Invalid, NotFound, Violation
from app.core.page import Keyset, Page
from app.roster.models import AboutStudent, ExternalId, FromSource, Person, Source
from app.roster.references import ALIAS_KINDS, Reference, parse

Row = TypeVar("Row", bound=FromSource)
About = TypeVar("About", bound=AboutStudent)
IdList = ARRAY(PgUUID)


def within_reach(work: Work, column: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """The caseload as a condition that an index serves; row-level security is the net beneath."""
    if work.principal.reach is not Reach.CASELOAD:
        return true()
    return column == any_(cast(list(work.principal.students), IdList))


async def locate_student(work: Work, name: str, pointer: str | None = None) -> Person:
    """The student named by an id or an external id. Raises `NotFound`, or `Invalid` at `pointer`."""
    return await found(work, Person, parse("student", name, pointer), pointer, Person.is_student.is_(True))


async def locate_staff(work: Work, name: str, pointer: str | None = None) -> Person:
    """The member of staff named by an id or an external id; raises as `locate_student`."""
    return await found(work, Person, parse("person", name, pointer), pointer, Person.is_student.is_(False))


async def resolve_actor(work: Work, name: str | None, pointer: str) -> UUID | None:
    """The person to whom an act is put down: the one named, else whom the request acts for.

    A request that acts for a person cannot put an act down to another: raises `Invalid` at `pointer`.
    """
    bound = work.principal.person_id
    if name is None:
        return bound
    person = await locate_staff(work, name, pointer)
    if bound is not None and person.id != bound:
        detail = "A request that acts for a person cannot put this down to another."
        raise Invalid([Violation(pointer, "person.another", detail)])
    return person.id


async def locate_staff_by_name(work: Work, names: Iterable[str]) -> dict[str, Person]:
    """Returns those of these members of staff whom the principal reaches, by the name that was given."""
    return await people_by_name(work, names, students=False)


async def people_by_name(work: Work, names: Iterable[str], *, students: bool, lock: bool = False) -> dict[str, Person]:
    """Returns students, or staff, by the name that was given, with two statements; `lock` is for `student_lock`."""
    kind = "student" if students else "person"
    references: dict[str, Reference] = {}
    for name in set(names):
        with suppress(NotFound):
            references[name] = parse(kind, name)
    aliased = await ids_by_alias(work, [one for one in references.values() if one.id is None])
    ids = {name: one.id or aliased.get((one.source, one.sourced_id)) for name, one in references.items()}
    query = select(Person).where(
        Person.district_id == work.district_id,
        Person.id == any_(cast([one for one in ids.values() if one is not None], IdList)),
        Person.is_student.is_(students),
    )
    people = {person.id: person for person in await work.db.scalars(_locked(query.order_by(Person.id), lock=lock))}
    if students:
        work.disclose("student", people)
    return {name: people[one] for name, one in ids.items() if one in people}


async def zone_of(work: Work) -> str:
    """The district's IANA time zone, read once in a unit of work."""
    known: dict[str, str] = work.db.info
    if "zone" not in known:
        zone = await work.db.scalar(select(District.time_zone).where(District.district_id == work.district_id))
        if zone is None:
            raise NotFound("district")
        known["zone"] = zone
    return known["zone"]


async def of_students(
    work: Work, model: type[About], kind: str, student_ids: Sequence[UUID], order: InstrumentedAttribute[UUID]
) -> dict[UUID, list[About]]:
    """Every row of a kind about these students, by student, in order; told to the disclosure log."""
    rows = await work.db.scalars(
        select(model)
        .where(model.district_id == work.district_id, model.student_id == any_(cast(list(student_ids), IdList)))
        .order_by(order)
    )
    found: dict[UUID, list[About]] = {student_id: [] for student_id in student_ids}
    for row in rows:
        found[row.student_id].append(row)
    work.disclose(kind, (student_id for student_id, rows_of in found.items() if rows_of))
    return found


async def by_id(
    work: Work,
    keyset: Keyset,
    query: Select[Any],
    column: InstrumentedAttribute[UUID],
    schools: Sequence[UUID] | None = None,
) -> Page[Any]:
    """A page in the order of ids, which is the order in which rows were made; of some schools, where they are given."""
    if keyset.after is not None:
        query = query.where(column > keyset.after_id())
    if schools is not None:
        model = cast_type(type[ListedBySchool], column.class_)
        query = page_of_schools(query, model, (column,), schools, keyset.limit + 1)
    rows = (await work.db.scalars(query.order_by(column).limit(keyset.limit + 1))).all()
    return keyset.cut(rows, lambda row: (str(row.id),))


async def found(
    work: Work,
    model: type[Row],
    reference: Reference,
    pointer: str | None,
    *also: ColumnElement[bool],
    lock: bool = False,
) -> Row:
    """The row that a reference names. Raises `NotFound`, or `Invalid` at `pointer` where it stood in a body.

    `lock` is for `student_lock`.
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
    """The query, locking its rows and reading them as they are under the lock, if asked to."""
    if not lock:
        return query
    return query.with_for_update(key_share=True).execution_options(populate_existing=True)


async def ids_by_alias(work: Work, references: list[Reference]) -> dict[tuple[str, str], UUID]:
    """Returns the rows that these external ids name, by source and `sourcedId`; all are of one kind."""
    if not references:
        return {}
    rows = await work.db.execute(
        select(Source.name, ExternalId.sourced_id, ExternalId.row_id)
        .join(Source, (Source.district_id == ExternalId.district_id) & (Source.id == ExternalId.source_id))
        .where(
            ExternalId.district_id == work.district_id,
            Source.district_id == work.district_id,
            ExternalId.kind == ALIAS_KINDS[references[0].kind],
            tuple_(Source.name, ExternalId.sourced_id).in_([(one.source, one.sourced_id) for one in references]),
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

"""Owns how commands find roster rows. Opens no session itself: it works within the permission of whoever calls."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, cast, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import InstrumentedAttribute

from app.access.models import District
from app.access.principal import Reach
from app.access.work import Work
from app.core.errors import Invalid, NotFound, Violation
from app.core.page import Keyset, Page
from app.roster.models import ExternalId, FromSource, Person, Source
from app.roster.references import ALIAS_KINDS, Reference, parse

Row = TypeVar("Row", bound=FromSource)
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


async def zone_of(work: Work) -> str:
    """The district's IANA time zone."""
    zone = await work.db.scalar(select(District.time_zone).where(District.district_id == work.district_id))
    if zone is None:
        raise NotFound("district")
    return zone


async def by_id(work: Work, keyset: Keyset, query: Select[Any], column: InstrumentedAttribute[UUID]) -> Page[Any]:
    """A page in the order of ids, which is the order in which rows were made."""
    if keyset.after is not None:
        query = query.where(column > keyset.after_id())
    rows = (await work.db.scalars(query.order_by(column).limit(keyset.limit + 1))).all()
    return keyset.cut(rows, lambda row: (str(row.id),))


async def found(
    work: Work, model: type[Row], reference: Reference, pointer: str | None, *also: ColumnElement[bool]
) -> Row:
    """The row that a reference names. Raises `NotFound`, or `Invalid` at `pointer` where it stood in a body."""
    query = select(model).where(model.district_id == work.district_id, *also)
    if reference.id is not None:
        query = query.where(model.id == reference.id)
    else:
        query = query.where(model.id == _alias_of(work, reference))
    row = await work.db.scalar(query)
    if row is None:
        if pointer is None:
            raise NotFound(reference.kind)
        detail = f"There is no such {reference.kind} within this caller's reach."
        raise Invalid([Violation(pointer, f"{reference.kind}.unknown", detail)])
    if isinstance(row, Person) and row.is_student:
        work.disclose("student", [row.id])
    return row


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

"""Lists the changes that a run would make, in pages and as CSV. Never ranks people.

There is such a list for runs that wait for approval (held) or are only tried (dry). It can be filtered by kind of
record, action and school.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.csv_file import csv_lines
from app.core.errors import Invalid, NotFound, Violation
from app.roster.lookup import ids_by_alias
from app.roster.models import Org
from app.roster.references import parse
from app.sis.models import SisPlannedChange, SisPlannedValue
from app.sis.runs.plans.fields import FieldChange, show_fields

BATCH: Final = 1000
"""The number of changes that are read for a CSV file in one transaction."""
COLUMNS: Final = ("kind", "action", "sourcedId", "schools", "field", "before", "after", "digest")


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """The filters of a list of planned changes. A field that is None does not filter."""

    kind: str | None = None
    action: str | None = None
    school_id: UUID | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Returns the SQL conditions of the filters that are set."""
        conditions: list[ColumnElement[bool]] = []
        if self.kind is not None:
            conditions.append(SisPlannedChange.kind == self.kind)
        if self.action is not None:
            conditions.append(SisPlannedChange.action == self.action)
        if self.school_id is not None:
            conditions.append(literal(self.school_id) == any_(SisPlannedChange.org_ids))
        return conditions


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A planned change of a row, for a CSV file. `schools` are the names of the schools that it concerns."""

    id: UUID
    kind: str
    action: str
    sourced_id: str | None
    schools: list[str]
    fields: list[FieldChange]


@needs(Can.READ_SYNC)
async def planned_changes(
    work: Work, run_id: UUID, chosen: ChangeFilter, after: UUID | None = None, limit: int = BATCH
) -> list[PlannedChange]:
    """Returns up to `limit` planned changes of a run that pass the filter and come after the change `after`.

    Also records in the disclosure log that the caller has seen data of the students whom these changes are about.
    """
    query = (
        select(SisPlannedChange, SisPlannedValue.personal)
        .outerjoin(
            SisPlannedValue,
            (SisPlannedValue.district_id == work.district_id) & (SisPlannedValue.id == SisPlannedChange.id),
        )
        .where(SisPlannedChange.district_id == work.district_id, SisPlannedChange.run_id == run_id)
        .where(*chosen.conditions())
    )
    if after is not None:
        query = query.where(SisPlannedChange.id > after)
    rows = [
        (row, personal) for row, personal in await work.db.execute(query.order_by(SisPlannedChange.id).limit(limit))
    ]
    work.disclose("sync", (row.student_id for row, _ in rows if row.student_id is not None))
    fields = await show_fields(work, [(row.kind, row.run_id, row.fields, personal) for row, personal in rows])
    schools = await _names_of_schools(work, {school_id for row, _ in rows for school_id in row.org_ids})
    return [
        PlannedChange(row.id, row.kind, row.action, row.sourced_id, [schools[each] for each in row.org_ids], changed)
        for (row, _), changed in zip(rows, fields, strict=True)
    ]


@needs(Can.READ_SYNC)
async def _names_of_schools(work: Work, school_ids: set[UUID]) -> dict[UUID, str]:
    """Returns the name of each school, keyed by id.

    A school that a run has yet to create has its sourcedId as its name.
    """
    orgs = await work.db.execute(
        select(Org.id, Org.name).where(Org.district_id == work.district_id, Org.id.in_(school_ids))
    )
    names = {row.id: row.name for row in orgs}
    planned = await work.db.execute(
        select(SisPlannedChange.row_id, SisPlannedChange.sourced_id).where(
            SisPlannedChange.district_id == work.district_id,
            SisPlannedChange.kind == "org",
            SisPlannedChange.row_id.in_(school_ids - names.keys()),
        )
    )
    names |= {row.row_id: row.sourced_id or "" for row in planned}
    return {school_id: names.get(school_id, str(school_id)) for school_id in school_ids}


ReadBatch = Callable[[], Coroutine[Any, Any, tuple[list[PlannedChange], str]]]
InTurn = Callable[[ReadBatch], Awaitable[tuple[list[PlannedChange], str]]]


async def csv_of_changes(
    engine: AsyncEngine,
    principal: Principal,
    keyring: Keyring,
    operation: str,
    run_id: UUID,
    chosen: ChangeFilter,
    in_turn: InTurn | None = None,
) -> AsyncIterator[str]:
    """Yields the planned changes of a run as CSV, one line for each changed field.

    Each batch is read in a separate transaction, which ends before the batch is yielded. The transaction also records
    in the disclosure log that the caller has seen the students' data. `in_turn` is a function that reads a batch when
    it is the caller's turn among the requests of the process. If it is None, no batch waits.
    """

    async def read(after: UUID | None) -> tuple[list[PlannedChange], str]:
        async with unit(engine, principal, keyring, operation) as work:
            changes = await planned_changes(work, run_id, chosen, after)
        return changes, csv_lines([line for change in changes for line in _lines(change)])

    yield csv_lines([COLUMNS])
    after: UUID | None = None
    while True:
        batch = partial(read, after)
        changes, sheet = await (batch() if in_turn is None else in_turn(batch))
        yield sheet
        if len(changes) < BATCH:
            return
        after = changes[-1].id


def _lines(change: PlannedChange) -> list[tuple[str, ...]]:
    row = (change.kind, change.action, change.sourced_id or "", "; ".join(change.schools))
    if not change.fields:
        return [(*row, "", "", "", "")]
    return [
        (*row, each.field, each.before or "", each.after or "", "true" if each.digest else "false")
        for each in change.fields
    ]


@needs(Can.READ_SYNC)
async def locate_schools(work: Work, names: Sequence[str], pointer: str | None) -> list[UUID]:
    """Returns the ids of the schools whose ids or external ids are `names`.

    A school that exists only in a list of planned changes is found too. For an unknown school, raises `NotFound`, or
    `Invalid` if `pointer` says where in the request's body the names are.
    """
    places = [None if pointer is None else f"{pointer}/{place}" for place in range(len(names))]
    return [await locate_school(work, name, place) for name, place in zip(names, places, strict=True)]


@needs(Can.READ_SYNC)
async def locate_school(work: Work, name: str, pointer: str | None) -> UUID:
    """Returns the id of the school whose id or external id is `name`.

    For an unknown school, raises `Invalid` at `pointer`, or `NotFound` if there is no pointer.
    """
    reference = parse("org", name, pointer)
    school_id = reference.id
    if school_id is None:
        school_id = (await ids_by_alias(work, [reference])).get((reference.source, reference.sourced_id))
    if school_id is not None and await _is_school(work, school_id):
        return school_id
    if pointer is None:
        raise NotFound("org")
    raise Invalid([Violation(pointer, "org.unknown", "There is no such school.")])


@needs(Can.READ_SYNC)
async def _is_school(work: Work, school_id: UUID) -> bool:
    org = select(Org.id).where(Org.district_id == work.district_id, Org.id == school_id)
    planned = select(SisPlannedChange.id).where(
        SisPlannedChange.district_id == work.district_id,
        SisPlannedChange.row_id == school_id,
        SisPlannedChange.kind == "org",
    )
    return await work.db.scalar(org) is not None or await work.db.scalar(planned.limit(1)) is not None

"""Lists quarantined rows as CSV, for the clerk who corrects them in the SIS. Also acknowledges quarantined rows.

The CSV names the field of each fault, but of a row's values it shows only the sourcedId.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, Select, func, insert, literal, select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.csv_file import csv_lines
from app.core.errors import Invalid, NotFound, Violation
from app.sis.engine.review.quarantine import NAMELESS, REUSED, SAME_PERSON
from app.sis.models import SisAcknowledgement, SisQuarantine, SisRun
from app.sis.runs.queries import run as find_run

MAX_LISTED: Final = 100_000
READ_AT_ONCE: Final = 500
"""The number of rows that are read from the database and written as CSV at a time."""
COLUMNS: Final = ("file", "row", "sourcedId", "field", "code", "acknowledged")


@needs(Can.READ_SYNC)
async def quarantine_csv(work: Work, run_id: UUID) -> str:
    """Returns the quarantined rows of a run as CSV, ordered by file and row. Raises `NotFound`."""
    await find_run(work, run_id)
    query = (
        select(
            *(SisQuarantine.file, SisQuarantine.row_number, SisQuarantine.sourced_id),
            *(SisQuarantine.field, SisQuarantine.code, SisQuarantine.acknowledged),
        )
        .where(SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id)
        .order_by(SisQuarantine.file, SisQuarantine.row_number)
        .limit(MAX_LISTED)
    )
    # All rows together would take seconds, and other requests of the process would have to wait.
    rows = await work.db.stream(query, execution_options={"yield_per": READ_AT_ONCE})
    parts = [csv_lines([COLUMNS])]
    async for part in rows.partitions():
        parts.append(csv_lines((*row[:-1], str(row.acknowledged).lower()) for row in part))
    return "".join(parts)


@needs(Can.READ_SYNC)
async def find_rows(work: Work, run_id: UUID, places: Collection[str]) -> list[UUID]:
    """Returns the ids of the quarantined rows of a run at these places. `users.csv:7` is row 7 of the file `users.csv`.

    Raises `Invalid` for a place without a quarantined row.
    """
    rows = await work.db.execute(
        select(SisQuarantine.id, SisQuarantine.file, SisQuarantine.row_number).where(
            SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id
        )
    )
    by_place = {f"{row.file}:{row.row_number}": row.id for row in rows}
    if unknown := [place for place in places if place not in by_place]:
        raise Invalid([Violation("/row", "quarantine.row", f"No row of the run is at {place}.") for place in unknown])
    return [by_place[place] for place in places]


@needs(Can.READ_SYNC)
async def find_reused(work: Work, run_id: UUID, sourced_ids: Collection[str]) -> list[UUID]:
    """Returns the ids of the quarantined rows of a run that are about people with these sourcedIds.

    Finds only rows that were refused because the sourcedId may now belong to another person. Raises `Invalid` for a
    sourcedId without such a row.
    """
    is_person = (SisQuarantine.kind == "person") & (SisQuarantine.code == REUSED)
    rows = await work.db.execute(
        select(SisQuarantine.id, SisQuarantine.sourced_id).where(
            SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id, is_person
        )
    )
    by_name = {row.sourced_id: row.id for row in rows}
    if unknown := [each for each in sourced_ids if each not in by_name]:
        detail = "The run has set aside nobody with the sourcedId {}, because it may be another person's."
        raise Invalid([Violation("/same_person", "quarantine.row", detail.format(each)) for each in unknown])
    return [by_name[each] for each in sourced_ids]


@needs(Can.APPROVE_SYNC)
async def acknowledge_rows(
    work: Work, run_id: UUID, rows: Collection[UUID] | None = None, same_person: bool = False
) -> int:
    """Acknowledges the quarantined rows `rows` of a run, or all of the run's quarantined rows if `rows` is None.

    Returns the number of rows that it acknowledged. In the next runs of the source, an acknowledged row does not count
    as refused, as long as its content and its fault stay the same. `same_person` is for rows that were refused because
    their sourcedId may now belong to another person. With `same_person`, the caller confirms that each row is about the
    same person as before, and the next runs import the rows.

    Raises `NotFound` for an unknown run. Raises `Invalid` for each row in `rows` that the run does not have, or that
    was unreadable, because a later run could not recognize it. With `same_person`, also raises `Invalid` if `rows` is
    None or empty, or if a row was refused for any other reason.
    """
    is_run = (SisRun.district_id == work.district_id) & (SisRun.id == run_id)
    source_id = await work.db.scalar(select(SisRun.source_id).where(is_run))
    if source_id is None:
        raise NotFound("run")
    of_run = [SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id]
    matching: Sequence[Any] = ()
    if rows is not None:
        of_run.append(SisQuarantine.id.in_(rows))
        query = select(SisQuarantine.id, SisQuarantine.kind, SisQuarantine.code, SisQuarantine.content).where(*of_run)
        matching = (await work.db.execute(query)).all()
        unknown = set(rows) - {row.id for row in matching}
        unreadable = {row.id for row in matching if row.content is None}
        if unknown or unreadable:
            places = [place for place, row_id in enumerate(rows) if row_id in unknown | unreadable]
            detail = "The run has no such row, or nothing of the row could be read by which it could be known again."
            raise Invalid([Violation(f"/rows/{place}", "quarantine.row", detail) for place in places])
    if same_person:
        _require_reused(rows, matching)
    else:
        of_run.append(SisQuarantine.acknowledged.is_(False))
    chosen = select(SisQuarantine.id).where(*of_run, SisQuarantine.content.is_not(None)).limit(MAX_LISTED)
    return await _acknowledge(work, source_id, chosen, SAME_PERSON if same_person else None)


async def _acknowledge(work: Work, source_id: UUID, row_ids: Select[Any], code: str | None) -> int:
    """Acknowledges quarantined rows of a source, and returns their number. Executes one statement.

    `row_ids` is a query for the ids of the rows. `code` is stored as the code of each acknowledgement; if it is None,
    the code of the row is stored.
    """
    marked = (
        update(SisQuarantine)
        .where(SisQuarantine.district_id == work.district_id, SisQuarantine.id.in_(row_ids))
        .values(acknowledged=True)
        .returning(
            *(SisQuarantine.district_id, SisQuarantine.kind, SisQuarantine.sourced_id),
            *(SisQuarantine.field, SisQuarantine.code, SisQuarantine.content),
        )
        .cte("marked")
    )
    values = {
        "district_id": marked.c.district_id,
        "id": func.gen_random_uuid(),
        "source_id": literal(source_id),
        "kind": marked.c.kind,
        "sourced_id": func.coalesce(marked.c.sourced_id, NAMELESS),
        "field": marked.c.field,
        "code": marked.c.code if code is None else literal(code),
        "content": marked.c.content,
        "acknowledged_by": literal(work.principal.name),
        "acknowledged_at": literal(now()),
    }
    written = await work.db.execute(insert(SisAcknowledgement).from_select(list(values), select(*values.values())))
    return cast(CursorResult[Any], written).rowcount


def _require_reused(rows: Collection[UUID] | None, matching: Sequence[Any]) -> None:
    """Raises `Invalid` unless rows are given, and each was refused because of a reused sourcedId."""
    if not rows:
        detail = "Name the rows of the people who are the same as before."
        raise Invalid([Violation("/rows", "quarantine.same_person", detail)])
    others = {row.id for row in matching if row.kind != "person" or row.code != REUSED}
    detail = f"Only a row of users with the code {REUSED} can be that of the same person."
    violations = [
        Violation(f"/rows/{place}", "quarantine.same_person", detail)
        for place, row_id in enumerate(rows)
        if row_id in others
    ]
    if violations:
        raise Invalid(violations)

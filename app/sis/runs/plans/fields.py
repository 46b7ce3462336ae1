"""Turns the fields of planned changes into texts: the values before and after. References are shown as sourcedIds.

A personal value is shown as plain text to a caller who may read the same record in the roster (`IN_CLEAR`), and to
others as a digest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import any_, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.roster.models import ExternalId
from app.sis.models import SisPlannedChange
from app.sis.runs.plans.kinds import LISTED

IN_CLEAR: Final = {
    "person": Can.READ_ROSTER,
    "demographics": Can.READ_DEMOGRAPHICS,
    "result": Can.READ_GRADES,
    "assessment_result": Can.READ_GRADES,
    "score": Can.READ_SCORES,
}
"""The permission that is needed to see the personal values of a kind in clear. It is the permission to read records of
this kind.
"""
_SOURCED_ID: Final = "sourced_id"
Fields = dict[str, list[Any]]
"""The values before and after, keyed by column, as `sis_planned_change` and `sis_planned_value` store them."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a planned change, named as in the source. Its values are texts, or digests if `digest` is true."""

    field: str
    before: str | None
    after: str | None
    digest: bool


@needs(Can.READ_SYNC)
async def show_fields(work: Work, keys: Sequence[tuple[str, UUID, Fields, Fields | None]]) -> list[list[FieldChange]]:
    """Returns, for each of these planned changes, the fields that it changes.

    Each item of `keys` is a planned change: its kind of record, the id of its run, its fields with digests instead of
    personal values, and the personal values as plain text.
    """
    chosen = [(kind, _in_clear(work, kind, fields, personal)) for kind, _, fields, personal in keys]
    row_ids = {row_id for kind, fields in chosen for row_id in _references(kind, fields)}
    names = await _sourced_ids(work, {run_id for _, run_id, _, _ in keys}, row_ids)
    return [
        [_shown(kind, column, change, names) for column, change in _in_order(kind, fields)] for kind, fields in chosen
    ]


def _in_clear(work: Work, kind: str, fields: Fields, personal: Fields | None) -> Fields:
    """Returns the fields of a planned change. If the caller may read the personal values, these replace the digests."""
    if personal is None or kind not in IN_CLEAR or not work.principal.may(IN_CLEAR[kind]):
        return fields
    return {**fields, **personal}


def _in_order(kind: str, fields: Fields) -> list[tuple[str, list[Any]]]:
    order = [
        _SOURCED_ID,
        *(field.column for field in LISTED[kind].fields),
        *(ref.column for ref in LISTED[kind].refs),
    ]
    return sorted(fields.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _references(kind: str, fields: Fields) -> Iterator[UUID]:
    for ref in LISTED[kind].refs:
        for value in fields.get(ref.column, ()):
            yield from (UUID(each) for each in (value if isinstance(value, list) else [value]) if each is not None)


@needs(Can.READ_SYNC)
async def _sourced_ids(work: Work, run_ids: set[UUID], row_ids: set[UUID]) -> dict[str, str]:
    """Returns the sourcedIds of rows, keyed by row id.

    The rows are in the roster, or one of the runs would create them.
    """
    if not row_ids:
        return {}
    requested_ids = cast(list(row_ids), ARRAY(PgUUID))
    rows = await work.db.execute(
        select(ExternalId.row_id, func.min(ExternalId.sourced_id))
        .where(ExternalId.district_id == work.district_id, ExternalId.row_id == any_(requested_ids))
        .where(ExternalId.kind.not_like("%.former"))
        .group_by(ExternalId.row_id)
    )
    names = {str(row_id): sourced_id for row_id, sourced_id in rows}
    planned = await work.db.execute(
        select(SisPlannedChange.row_id, SisPlannedChange.sourced_id).where(
            SisPlannedChange.district_id == work.district_id,
            SisPlannedChange.run_id == any_(cast(list(run_ids), ARRAY(PgUUID))),
            SisPlannedChange.row_id == any_(requested_ids),
            SisPlannedChange.action == "create",
        )
    )
    return names | {str(row_id): sourced_id for row_id, sourced_id in planned if sourced_id is not None}


def _shown(kind: str, column: str, change: list[Any], names: dict[str, str]) -> FieldChange:
    before, after = change[:2]
    header, is_reference = _header(kind, column)
    if is_reference:
        before, after = _named(before, names), _named(after, names)
    return FieldChange(header, _as_text(before), _as_text(after), len(change) > 2)


def _header(kind: str, column: str) -> tuple[str, bool]:
    """Returns the name that the source uses for a column, and whether the column refers to other rows."""
    if column == _SOURCED_ID:
        return "sourcedId", False
    ref = next((ref for ref in LISTED[kind].refs if ref.column == column), None)
    if ref is not None:
        return ref.header, True
    return next((field.header for field in LISTED[kind].fields if field.column == column), column), False


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [names.get(each, each) for each in value]
    return None if value is None else names.get(value, value)


def _as_text(value: Any) -> str | None:
    """Returns a value as a text, in the form of a CSV delivery: the items of a list are separated by commas."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(str(_as_text(each)) for each in value)
    return orjson.dumps(value).decode()

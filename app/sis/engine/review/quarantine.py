"""Adds to each quarantined row its sourcedId, a digest of its content, and whether a person has acknowledged it.

Stores no value of a row.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

import hashlib
from collections.abc import Sequence
from typing import Final

from app.sis.engine.intake.convert import MAX_ID_BYTES
from app.sis.engine.stage import Stage
from app.sis.kinds import Kind
from app.sis.port import Delivery

REUSED: Final = "sourcedId.reused"
"""A delivery gives the sourcedId of a known person to another person. Rows about these two people get this code."""
SAME_PERSON: Final = "sourcedId.same_person"
"""The code of an acknowledgement of a `REUSED` row: the sourcedId of the row still belongs to the same person.

The row is then imported.
"""
NAMELESS: Final = ""
"""The sourcedId in the acknowledgement of a row that has none. Such a row is recognized by its content alone."""
MAX_NAMED = 50_000
"""The maximum number of quarantined rows of one file that get a sourcedId and a digest.

If a file has more faults, nobody corrects it row by row.
"""


async def name_quarantined(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Adds a sourcedId and a digest to each quarantined row of one kind of record.

    Returns the number of these rows that a person has acknowledged.
    """
    for file in (delivery, *delivery.supplements):
        await _name_rows_of(stage, file)
    return await stage.count(
        f"""WITH known AS (
            UPDATE sis_quarantine AS q SET acknowledged = true FROM sis_acknowledgement AS a
            WHERE q.district_id = :district AND q.run_id = :run AND q.kind = '{kind.name}'
              AND a.district_id = :district AND a.source_id = :source AND a.kind = q.kind
              AND a.sourced_id = coalesce(q.sourced_id, '{NAMELESS}') AND a.field = q.field AND a.code = q.code
              AND a.content = q.content
            RETURNING q.id)
        SELECT count(DISTINCT k.id) FROM known AS k"""
    )


async def _name_rows_of(stage: Stage, file: Delivery) -> None:
    driver, keys = stage.driver, (stage.district_id, stage.run_id, file.file)
    numbers = [
        row["row_number"]
        for row in await driver.fetch(
            "SELECT q.row_number FROM sis_quarantine AS q WHERE q.district_id = $1 AND q.run_id = $2 AND q.file = $3 "
            f"AND q.content IS NULL ORDER BY q.row_number LIMIT {MAX_NAMED}",
            *keys,
        )
    ]
    if not numbers:
        return
    digests = await digest_rows(stage, file, numbers)
    columns = [list(digests), *([row[place] for row in digests.values()] for place in (0, 1))]
    await driver.execute(
        """UPDATE sis_quarantine AS q SET sourced_id = f.sourced_id, content = f.content
           FROM unnest($4::bigint[], $5::text[], $6::text[]) AS f (number, sourced_id, content)
           WHERE q.district_id = $1 AND q.run_id = $2 AND q.file = $3 AND q.row_number = f.number""",
        *keys,
        *columns,
    )


async def digest_rows(stage: Stage, file: Delivery, numbers: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
    """Returns, for each of these rows of a file, the sourcedId and a digest of the content, keyed by row number.

    If a row has no sourcedId, the value of the column `file.owner` is returned in its place. The header is row 1. A row
    that does not match the header has no values in the raw table; its digest is that of the row in the file. The digest
    is None if nothing of a row could be read.
    """
    own = file.header[: len(file.header) - len(file.composed)]
    # The time of a change is not part of the content, because some sources renew it every night.
    names = [f"r.c{n}" for n, name in enumerate(own, start=1) if name != "dateLastModified"]
    content = ", ".join(names)
    keys = ", ".join(f"r.c{own.index(name) + 1}" for name in ("sourcedId", file.owner) if name)
    rows = await stage.driver.fetch(
        f"""SELECT r.row_number + 1 AS number, left(coalesce({keys}), {MAX_ID_BYTES}) AS sourced_id,
                   CASE WHEN num_nonnulls({content}) > 0 THEN md5($2 || ROW({content})::text) END AS content
            FROM {stage.raw(file.kind)} AS r WHERE r.row_number + 1 = ANY ($1::bigint[])""",
        numbers,
        str(stage.source_id),
    )
    malformed = stage.malformed.get(file.kind, {})
    return {
        row["number"]: (
            row["sourced_id"],
            _salted(stage, malformed[row["number"] - 1]) if row["number"] - 1 in malformed else row["content"],
        )
        for row in rows
    }


def _salted(stage: Stage, digest: str) -> str:
    """Returns a digest of the source's id and `digest`, so that equal rows of two sources have different digests."""
    return hashlib.blake2b(f"{stage.source_id}{digest}".encode(), digest_size=16).hexdigest()

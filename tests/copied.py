"""Creates a new district by copying the rows of another district.

This takes a fifth of the processor time that the usual creation of a district takes. A copy has ids and names of its
own. Each time in its rows is the time of the copying.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id

COLUMNS = """
SELECT c.relname AS table,
       string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '') AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
GROUP BY c.oid, c.relname
HAVING bool_or(a.attname = 'district_id')
ORDER BY c.relname
"""
"""The tables that may have rows of a district, each with the columns that an insertion gives."""
ID = r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
TIME = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d\b"


@dataclass(frozen=True)
class Original:
    """The rows of a district, in a form from which copies are made.

    `rows` has the JSON of each table, split at every text that differs in a copy. `insertion` is the statement that
    inserts the rows of a copy.
    """

    full_name: str
    insertion: str
    rows: list[list[str]]
    ids: list[UUID]

    def new_ids(self) -> dict[UUID, UUID]:
        """Returns a new id for every id of the original, in the same order."""
        return {id_: new_id() for id_ in self.ids}


@needs(Can.OPERATE)
async def read_original(work: Work, full_name: str, names: Sequence[str]) -> Original:
    """Reads all rows of the unit of work's district, in a form from which copies can be made.

    The JSON of the rows is split at every text that differs in a copy: each id, each time, `full_name`, and each of
    `names`.
    """
    cut = re.compile("(" + "|".join([ID, TIME, *map(re.escape, [full_name, *names])]) + ")")
    rows, parts = [], []
    for table, columns in await work.run(COLUMNS, []):
        query = f"SELECT json_agg(t ORDER BY t.ctid)::text AS rows FROM {table} AS t WHERE t.district_id = $1"
        [row] = await work.run(query, [work.district_id])
        if row["rows"] is not None:
            rows.append(cut.split(row["rows"]))
            parts.append(
                f"INSERT INTO {table} ({columns}) "
                f"SELECT {columns} FROM json_populate_recordset(NULL::{table}, CAST(${len(rows)} AS text)::json)"
            )
    *first, last = parts
    common = ", ".join(f"copied_{number} AS ({part})" for number, part in enumerate(first, 1))
    ids = {piece for pieces in rows for piece in pieces if re.fullmatch(ID, piece)}
    return Original(full_name, f"WITH {common} {last}", rows, [UUID(id_) for id_ in sorted(ids)])


@needs(Can.OPERATE)
async def insert_copy(work: Work, original: Original, ids: Mapping[UUID, UUID], names: Mapping[str, str]) -> None:
    """Inserts a copy into the district of this unit of work, with these ids, and a new text for each name."""
    texts = {str(old): str(new) for old, new in ids.items()}
    texts |= {old: json.dumps(new)[1:-1] for old, new in names.items()}
    time = now().isoformat()

    def rendered(place: int, piece: str) -> str:
        # `re.split` puts the texts between which it cut at the odd places.
        return texts.get(piece, time) if place % 2 else piece

    rows = ["".join(rendered(place, piece) for place, piece in enumerate(pieces)) for pieces in original.rows]
    await work.run(original.insertion, rows)

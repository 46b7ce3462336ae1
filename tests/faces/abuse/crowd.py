"""Adds so many rows to a district that the longest lists are full, and builds the most expensive allowed queries."""

import asyncpg

from tests.house.full_district import FullDistrict

STUDENTS = 400
COPIES = 5
"""How many copies of a concern each student gets."""
LONGEST_TEXT = 4000
"""The number of characters of a concern's description, which is the most that is allowed."""
NAMES = "id givenName familyName middleName grades schoolIds email identifier departed"
COPY = """INSERT INTO {table} ({columns}) SELECT {values} FROM {table} AS k, {each}
    WHERE k.district_id = $1 AND k.id = $2 {condition}"""


def _pages(count: int, field: str, node: str, first: int = 200) -> str:
    page = f"edges {{ cursor node {{ {node} }} }} pageInfo {{ endCursor hasNextPage }}"
    return "{ " + " ".join(f"a{n}: {field}(first: {first}) {{ {page} }}" for n in range(count)) + " }"


QUERIES = {
    "many pages of students": _pages(30, "students", NAMES),
    "many pages of concerns": _pages(25, "concerns", f"id state raisedOn student {{ {NAMES} }}"),
    "lists in rows": _pages(8, "students", f"{NAMES} concerns {{ id state raisedOn }}"),
    "pages in rows": _pages(2, "students", f"{NAMES} results(first: 20) {{ edges {{ cursor node {{ id }} }} }}"),
    "events": _pages(30, "events", "id type timestamp subject data"),
    "long texts": _pages(9, "concerns", "id description"),
    "too long texts": _pages(30, "concerns", "id description"),
    "too long texts in rows": _pages(8, "students", f"{NAMES} concerns {{ id state description }}"),
}
"""Queries whose cost is close to the limit, or whose response is close to the longest or over it."""
TOO_LONG = {name for name in QUERIES if name.startswith("too long")}


async def crowd(district: FullDistrict) -> None:
    """Adds students with concerns, whose texts are as long as allowed."""
    town = district.town
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        each = f"generate_series(1, {STUDENTS}) AS n"
        await owner.execute(await _copying(owner, "person", each, {}), town.district_id, town.students["amy"])
        concern = await owner.fetchval("SELECT id FROM concern WHERE district_id = $1 LIMIT 1", town.district_id)
        each = f"person AS p, generate_series(1, {COPIES}) AS n"
        values = {"student_id": "p.id", "description": f"repeat('Reads slowly. ', {LONGEST_TEXT // 14})"}
        copying = await _copying(owner, "concern", each, values, "AND p.district_id = $1 AND p.is_student")
        await owner.execute(copying, town.district_id, concern)
        await owner.execute("ANALYZE person; ANALYZE concern")
    finally:
        await owner.close()


async def _copying(
    owner: asyncpg.Connection, table: str, each: str, values: dict[str, str], condition: str = ""
) -> str:
    """Returns a statement that inserts copies of a row: one for each row of `each`, with its own id and `values`.

    Its parameters are the district and the id of the row to copy.
    """
    rows = await owner.fetch(
        """SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
           AND attgenerated = ''""",
        table,
    )
    columns = [row["attname"] for row in rows]
    named = {"id": "gen_random_uuid()"} | values
    of_copy = ", ".join(named.get(column, f"k.{column}") for column in columns)
    return COPY.format(table=table, columns=", ".join(columns), values=of_copy, each=each, condition=condition)

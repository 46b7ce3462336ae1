"""Tests the districts that other tests use: a copied district is like a district that the product has created."""

import re
from collections.abc import Mapping

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.copied import ID, TIME
from tests.house.watch import tenant_tables
from tests.town import Town, found_town, make_town


async def test_a_copied_district_has_the_rows_of_one_that_was_made(
    engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings, owner: asyncpg.Connection
) -> None:
    """A copied district has the same rows as one that was created step by step, and its ids refer to the right rows."""
    made = await make_town("north", engine, worker_engine, settings)
    await found_town("east", engine, worker_engine, settings)  # the original, if it is the first of this database
    copied, second = [await found_town("north", engine, worker_engine, settings) for _ in range(2)]
    texts_of_made, texts_of_copied, texts_of_second = [await _texts(owner, town) for town in (made, copied, second)]
    assert texts_of_made.keys() >= {"district", "measure", "person", "school_week"}
    assert _comparable(texts_of_copied, copied) == _comparable(texts_of_made, made)
    assert not _ids(texts_of_copied) & (_ids(texts_of_made) | _ids(texts_of_second))


async def test_a_copied_town_names_its_own_rows(north: Town, south: Town, owner: asyncpg.Connection) -> None:
    """The rows of a district that was made as a copy refer only to rows of that district."""
    rows = [*north.schools, *north.students.values(), *north.staff.values(), *north.classes, north.source_id]
    playbook = [*north.areas.values(), *north.measures.values(), *north.levels.values()]
    assert {str(row) for row in [north.district_id, *rows, *playbook]} <= _ids(await _texts(owner, north))
    assert north.client_id != south.client_id
    assert north.students.keys() == south.students.keys() == {"amy", "ben", "cy"}


async def _texts(owner: asyncpg.Connection, town: Town) -> dict[str, str]:
    """Returns, for every table in which the district has rows, these rows as JSON, one on each line."""
    tables = sorted(table for table in tenant_tables() if "." not in table)
    texts = {}
    for table in tables:
        query = f"SELECT to_json(t)::text AS row FROM public.{table} AS t WHERE t.district_id = $1"
        if rows := await owner.fetch(query, town.district_id):
            texts[table] = "\n".join(row["row"] for row in rows)
    return texts


def _comparable(texts: Mapping[str, str], town: Town) -> dict[str, str]:
    """Returns rows in a form that can be compared between districts.

    They are sorted, each id is replaced by its position, and the names and times of the district are removed.
    """
    places = {id_: str(place) for place, id_ in enumerate(sorted(_ids(texts)))}
    named = {town.slug: "slug", town.canary: "Canary", town.canary.lower(): "canary", **places}
    cut = re.compile("|".join([ID, town.slug, town.canary, town.canary.lower()]))
    plain = {table: re.sub(TIME, "time", cut.sub(lambda match: named[match[0]], text)) for table, text in texts.items()}
    return {table: "\n".join(sorted(text.split("\n"))) for table, text in plain.items()}


def _ids(texts: Mapping[str, str]) -> set[str]:
    return {id_ for text in texts.values() for id_ in re.findall(ID, text)}

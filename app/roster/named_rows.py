"""Locks the rows that several commands of one GraphQL document share, in the order that every transaction keeps.

Teams are locked before students, because whom a team serves follows from its rows; groups, meetings and the items of
agendas are locked after students. Two documents that name them in opposite orders would otherwise wait for each other.
The tables belong to rooms above this one and are named as the database names them.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, any_, cast, select

from app.access.work import Work
from app.core.db import Base
from app.roster.lookup import IdList

OF_TEAM: Final = ("team_scope", "team_member", "meeting")
"""The tables whose commands lock the team of the row."""
STUDENTS_OF: Final = (
    ("team", "team_student", "team_id"),
    ("group", "group_member", "group_id"),
    ("meeting", "agenda_item", "meeting_id"),
)
"""The kinds whose commands lock students: each with the table that lists these, and its column for the row."""
AFTER_STUDENTS: Final = (
    ("group", "support_group"),
    ("meeting_series", "meeting_series"),
    ("meeting", "meeting"),
    ("agenda_item", "agenda_item"),
    ("action_item", "action_item"),
)
"""The kinds that are locked after students, with their tables, in the order of the locks."""
IdsByKind = Mapping[str, Collection[UUID]]


async def lock_named_teams(work: Work, ids_by_kind: IdsByKind) -> None:
    """Locks the teams that a document names, or whose rows it names, in the order of their ids."""
    teams = set(ids_by_kind.get("team", ()))
    for kind in OF_TEAM:
        table, row_ids = _table(kind), ids_by_kind.get(kind)
        if row_ids:
            teams |= set(await work.db.scalars(select(table.c.team_id).where(*_are(work, table.c.id, table, row_ids))))
    await _lock(work, "team", teams)


async def students_of_named(work: Work, ids_by_kind: IdsByKind) -> set[UUID]:
    """Returns the students of the teams, groups and meetings that a document names."""
    students = set[UUID]()
    for kind, name, column in STUDENTS_OF:
        table, row_ids = _table(name), ids_by_kind.get(kind)
        if row_ids:
            query = select(table.c.student_id).where(*_are(work, table.c[column], table, row_ids))
            students |= set(await work.db.scalars(query.where(table.c.student_id.is_not(None))))
    return students


async def lock_named_rows(work: Work, ids_by_kind: IdsByKind) -> None:
    """Locks the rows that a document names and that are locked after students, by table and in the order of ids."""
    for kind, name in AFTER_STUDENTS:
        await _lock(work, name, ids_by_kind.get(kind, ()))


async def _lock(work: Work, name: str, row_ids: Collection[UUID]) -> None:
    if row_ids:
        table = _table(name)
        query = select(table.c.id).where(*_are(work, table.c.id, table, row_ids)).order_by(table.c.id)
        await work.db.execute(query.with_for_update(key_share=True))


def _are(work: Work, column: Any, table: Table, row_ids: Collection[UUID]) -> tuple[Any, ...]:
    return table.c.district_id == work.district_id, column == any_(cast(sorted(row_ids), IdList))


def _table(name: str) -> Table:
    return Base.metadata.tables[name]

"""Reads the names that reports show: those of students, schools, areas and levels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, any_, cast, null, select, union_all

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.models import Area, Level
from app.roster.lookup import IdList
from app.roster.models import Org, Person


@dataclass(frozen=True, slots=True)
class ReportNames:
    """The names of students, schools and areas by id, and the names of levels by rank."""

    by_id: Mapping[UUID, str] = field(default_factory=dict)
    by_rank: Mapping[int, str] = field(default_factory=dict)

    def of(self, row_id: UUID | None) -> str | None:
        """Returns the name of a student, school or area; None if `row_id` is None or the caller may not see the row."""
        return None if row_id is None else self.by_id.get(row_id)

    def of_level(self, rank: int | None) -> str | None:
        """Returns the name of the level with this rank; None if `rank` is None or no level has it."""
        return None if rank is None else self.by_rank.get(rank)


@needs(Can.READ_ROSTER, Can.READ_PLAYBOOK)
async def read_report_names(
    work: Work,
    *,
    students: Iterable[UUID] = (),
    schools: Iterable[UUID | None] = (),
    areas: Iterable[UUID] = (),
) -> ReportNames:
    """Returns the names of these rows, and of all levels of the district. Executes one statement."""
    row_id, rank = cast(null(), Uuid).label("id"), cast(null(), Integer).label("rank")
    parts = [
        select(row_id, Level.rank.label("rank"), Level.name.label("name")).where(
            Level.district_id == work.district_id, Level.retired_at.is_(None)
        )
    ]
    tables: tuple[tuple[Any, Any, Iterable[UUID | None]], ...] = (
        (Person, Person.given_name + " " + Person.family_name, students),
        (Org, Org.name, schools),
        (Area, Area.name, areas),
    )
    for table, name, row_ids in tables:
        if unique_ids := {each for each in row_ids if each is not None}:
            parts.append(
                select(table.id, rank, cast(name, Text).label("name")).where(
                    table.district_id == work.district_id, table.id == any_(cast(sorted(unique_ids), IdList))
                )
            )
    rows = (await work.db.execute(union_all(*parts))).all()
    return ReportNames(
        {row.id: row.name for row in rows if row.rank is None},
        {row.rank: row.name for row in rows if row.rank is not None},
    )

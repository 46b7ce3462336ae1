"""Reads the playbook: areas, levels, measures, and the decision rule for a measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.defaults import REMINDERS
from app.playbook.lookup import locate_area, locate_level_or_retired, locate_measure, published
from app.playbook.models import Area, Level, Measure
from app.playbook.rules import AREA, choose


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """The decision rule that applies to a measure, and the playbook version that it comes from."""

    rule: str
    parameters: Mapping[str, Any]
    playbook_version_id: UUID


@needs(Can.READ_PLAYBOOK)
async def areas(work: Work) -> list[Area]:
    """Returns all areas, sorted by code. There is no paging, because a district has only a few dozen."""
    return list(await work.db.scalars(select(Area).where(Area.district_id == work.district_id).order_by(Area.code)))


@needs(Can.READ_PLAYBOOK)
async def levels(work: Work) -> list[Level]:
    """Returns all levels, by rank."""
    return list(await work.db.scalars(select(Level).where(Level.district_id == work.district_id).order_by(Level.rank)))


@needs(Can.READ_PLAYBOOK)
async def measures(work: Work) -> list[Measure]:
    """Returns all measures, by code."""
    rows = await work.db.scalars(select(Measure).where(Measure.district_id == work.district_id).order_by(Measure.code))
    return list(rows)


@needs(Can.READ_PLAYBOOK)
async def area_named(work: Work, name: str, pointer: str) -> Area:
    """Returns the area with this code or id; raises `Invalid` at `pointer` if there is none."""
    return await locate_area(work, name, pointer)


@needs(Can.READ_PLAYBOOK)
async def measure_named(work: Work, name: str, pointer: str) -> Measure:
    """Returns the measure with this code or id; raises `Invalid` at `pointer` if there is none."""
    return await locate_measure(work, name, pointer)


@needs(Can.READ_PLAYBOOK)
async def level_of_rank(work: Work, rank: int, pointer: str) -> Level:
    """Returns the level of this rank; raises `Invalid` at `pointer` if there is none.

    Returns a retired level only if no level in force has this rank.
    """
    return await locate_level_or_retired(work, rank, pointer)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The decision rules of a playbook version, and the tree of areas.

    `rule_for` chooses a rule from them without a database query.

    `above` maps each area's id to the codes on the path from this area up to the top of the tree.
    """

    playbook_version_id: UUID
    rules: Mapping[str, Any]
    above: Mapping[UUID, tuple[str, ...]]

    def rule_for(self, measure: str, area_id: UUID, schools: Sequence[UUID]) -> ChosenRule:
        """Returns the decision rule for a measure in an area, for a student of these schools.

        A rule of one of the schools takes precedence over a rule of the district.
        """
        rule, parameters = choose(self.rules, measure, self.above.get(area_id, ()), schools)
        return ChosenRule(rule, parameters, self.playbook_version_id)


@needs(Can.READ_PLAYBOOK)
async def reminder_days(work: Work) -> dict[str, int]:
    """Returns after how many days of instruction each kind of reminder is due; 0 means that the reminder is off."""
    return REMINDERS | {name: int(days) for name, days in (await published(work)).reminders.items()}


@needs(Can.READ_PLAYBOOK)
async def rulebook(work: Work, rules: Mapping[str, Any] | None = None) -> Rulebook:
    """Returns the decision rules of the version in force.

    If `rules` are given, they are used instead, as for a preview.
    """
    version = await published(work)
    used_rules = version.rules if rules is None else rules
    rows = {row.id: row for row in await areas(work)} if any(AREA in key for key in used_rules) else {}
    above: dict[UUID, tuple[str, ...]] = {}
    for area_id in rows:
        codes, area = [], rows.get(area_id)
        while area is not None:
            codes.append(area.code)
            area = rows.get(area.parent_id) if area.parent_id else None
        above[area_id] = tuple(codes)
    return Rulebook(version.id, used_rules, above)

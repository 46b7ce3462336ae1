"""Publishes versions of the playbook. A published version is never changed; each change publishes a new version."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.errors import Invalid, Violation
from app.core.ids import new_id
from app.events.catalogue import PLAYBOOK_PUBLISHED, NewEvent
from app.events.outbox import record
from app.playbook.defaults import (
    AREAS,
    COUNTS,
    HYPOTHESIS_KINDS,
    INCIDENT_KINDS,
    LEVELS,
    MEASURES,
    REMINDERS,
    RULES,
    SEMS,
    published_benchmarks,
)
from app.playbook.lookup import published
from app.playbook.measures.noise import NewSemRange, ranges_as_stored
from app.playbook.models import Area, Benchmark, HypothesisKind, IncidentKind, Level, Measure, PlaybookVersion

MAX_REMINDER_DAYS = 365


@needs(Can.OPERATE)
async def open_playbook(work: Work) -> None:
    """Creates the default areas, levels, measures and rules of a new district as version 1."""
    areas: dict[str, UUID] = {}
    for code, name, parent, secured in AREAS:
        areas[code] = new_id()
        work.db.add(
            Area(
                district_id=work.district_id,
                id=areas[code],
                code=code,
                name=name,
                parent_id=areas[parent] if parent else None,
                secured=secured,
            )
        )
        await work.db.flush()
    for rank, name in LEVELS:
        work.db.add(Level(district_id=work.district_id, id=new_id(), rank=rank, name=name))
    for code, name, area, unit, direction, sem, lowest, highest in MEASURES:
        work.db.add(
            Measure(
                district_id=work.district_id,
                id=new_id(),
                code=code,
                name=name,
                area_id=areas[area],
                unit=unit,
                direction=direction,
                sem=sem,
                sems=ranges_as_stored(NewSemRange(*each) for each in SEMS.get(code, ())),
                lowest=lowest,
                highest=highest,
                kind="count" if code in COUNTS else "growth",
            )
        )
    await work.db.flush()
    number = (await _publish(work, RULES)).number
    of_version = {"district_id": work.district_id, "from_version": number}
    for code, name in HYPOTHESIS_KINDS:
        work.db.add(HypothesisKind(**of_version, id=new_id(), code=code, name=name))
    for code, name in INCIDENT_KINDS:
        work.db.add(IncidentKind(**of_version, id=new_id(), code=code, name=name))
    await _add_published_benchmarks(work, number)


async def _add_published_benchmarks(work: Work, number: int) -> None:
    rows = await work.db.scalars(select(Measure).where(Measure.district_id == work.district_id))
    measures = {row.code: row.id for row in rows}
    for benchmark in published_benchmarks():
        figures = {name: value for name, value in asdict(benchmark).items() if name != "measure"}
        work.db.add(
            Benchmark(
                district_id=work.district_id,
                id=new_id(),
                measure_id=measures[benchmark.measure],
                published=True,
                from_version=number,
                **figures,
            )
        )
    await work.db.flush()


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_next_version(work: Work) -> PlaybookVersion:
    """Publishes the next version of the playbook, with the rules and reminders of the version in force.

    The version gets the areas and levels that are stored in the database now. A command that changes them must
    therefore save them first.
    """
    last = await published(work)
    return await _publish(work, last.rules, last.reminders)


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_rules(work: Work, rules: dict[str, Any]) -> PlaybookVersion:
    """Publishes the next version with these rules, keyed by `rules.Entry.key`. The reminders stay the same.

    The caller must validate the rules first, because only `response.administration.playbook` knows which rules exist.
    """
    return await _publish(work, rules, (await published(work)).reminders)


@needs(Can.OPERATE)
async def publish_reminders(work: Work, days: Mapping[str, int]) -> PlaybookVersion:
    """Publishes the next version with these reminders; raises `Invalid`.

    `days` says for each kind of reminder after how many days of instruction (0 to 365) it is due; 0 turns the reminder
    off. Kinds that are not in `days` keep their number.
    """
    if not all(name in REMINDERS and 0 <= number <= MAX_REMINDER_DAYS for name, number in days.items()):
        detail = f"Name {', '.join(REMINDERS)}, each with 0 to {MAX_REMINDER_DAYS} days."
        raise Invalid([Violation("/reminders", "playbook.reminders", detail)])
    last = await published(work)
    return await _publish(work, last.rules, last.reminders | dict(days))


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_agenda_order(work: Work, kinds: list[str]) -> PlaybookVersion:
    """Publishes the next version with this order of the kinds of agenda items. Rules and reminders stay the same.

    The caller must validate the kinds first, because only `agenda.rules` knows which kinds exist.
    """
    last = await published(work)
    return await _publish(work, last.rules, last.reminders, kinds)


@needs(Can.PUBLISH_PLAYBOOK)
async def lock_playbook(work: Work) -> None:
    """Locks this district's playbook. Other transactions that change it wait until this transaction ends."""
    await _lock(work)


async def _lock(work: Work) -> None:
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.PLAYBOOK})


async def _publish(
    work: Work, rules: dict[str, Any], reminders: dict[str, Any] | None = None, agenda_order: list[str] | None = None
) -> PlaybookVersion:
    await _lock(work)
    last = await work.db.scalar(
        select(PlaybookVersion)
        .where(PlaybookVersion.district_id == work.district_id)
        .order_by(PlaybookVersion.number.desc())
        .limit(1)
    )
    version = PlaybookVersion(
        district_id=work.district_id,
        id=new_id(),
        number=(last.number if last else 0) + 1,
        published_at=now(),
        rules=rules,
        reminders=reminders or {},
        areas=await _shown_areas(work),
        levels=await _shown_levels(work),
        agenda_order=(last.agenda_order if last else []) if agenda_order is None else agenda_order,
    )
    work.db.add(version)
    await work.db.flush()
    if last is not None:
        record(work, NewEvent(PLAYBOOK_PUBLISHED, version.id, version.number, {"playbook": version.id}))
    return version


async def _shown_areas(work: Work) -> list[dict[str, Any]]:
    """Returns the areas that are in force, as JSON objects that a playbook version stores."""
    rows = list(
        await work.db.scalars(
            select(Area)
            .where(Area.district_id == work.district_id, Area.retired_at.is_(None))
            .order_by(Area.position, Area.code)
        )
    )
    codes = {row.id: row.code for row in rows}
    return [
        {
            "id": str(row.id),
            "code": row.code,
            "name": row.name,
            "parent": codes.get(row.parent_id) if row.parent_id else None,
            "secured": row.secured,
        }
        for row in rows
    ]


async def _shown_levels(work: Work) -> list[dict[str, Any]]:
    """Returns the levels that are in force, as JSON objects that a playbook version stores."""
    rows = await work.db.scalars(
        select(Level).where(Level.district_id == work.district_id, Level.retired_at.is_(None)).order_by(Level.rank)
    )
    return [{"id": str(row.id), "rank": row.rank, "name": row.name} for row in rows]

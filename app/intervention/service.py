"""Writes, publishes and retires entries of the intervention library. A published version never changes."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.violations import Unread, Violations, input_violations, readable
from app.events.catalogue import INTERVENTION_PUBLISHED, INTERVENTION_RETIRED, EventType, NewEvent
from app.events.outbox import record
from app.intervention.inputs import NewIntervention
from app.intervention.models import Intervention
from app.intervention.rules import MAX_AT_ONCE, MAX_ENTRIES, InterventionState, violations_of
from app.playbook.lookup import AreasByName, load_areas, load_levels, unknown_name

TEXTS: Final = ("name", "materials", "entry_criteria", "exit_criteria", "evidence_note")
NUMBERS: Final = ("minutes_per_session", "sessions_per_week", "group_from", "group_to")


@dataclass(frozen=True, slots=True)
class SavedIntervention:
    """The result for one sent entry: `recorded`, `amended`, `unchanged`, or `refused` with the violations."""

    outcome: str
    entry: Intervention | None = None
    violations: tuple[Violation, ...] = ()


@needs(Can.PUBLISH_PLAYBOOK)
async def draft_interventions(
    work: Work, new: Sequence[NewIntervention], *, at: str = "/interventions", positions: Sequence[int] | None = None
) -> list[SavedIntervention]:
    """Writes up to 500 entries as drafts; returns one result for each, in order.

    Raises `Conflict` if the library would have too many entries.

    A draft of the same code is replaced. If an entry equals the newest stored version of the intervention with its
    code, nothing is written and its result is `unchanged`, so an export can be sent again.

    `at` is the JSON Pointer of the list in the request. `positions` has, for each item of `new`, the item's index in
    that list. `positions` is needed if `new` lacks some items of the request.
    """
    if not 1 <= len(new) <= MAX_AT_ONCE:
        raise Invalid([Violation(at, "interventions.count", f"Send 1 to {MAX_AT_ONCE} entries at once.")])
    newest = await _newest_versions(work, readable(new, "code"))
    areas = await load_areas(work, (name for names in readable(new, "areas") for name in names))
    ranks = frozenset(await load_levels(work))
    results: list[SavedIntervention] = []
    seen: set[str] = set()
    for place, item in zip(range(len(new)) if positions is None else positions, new, strict=True):
        pointer = f"{at}/{place}"
        try:
            values = _resolve(item, areas, ranks, pointer)
            if item.code in seen:
                raise Invalid([Violation(f"{pointer}/code", "intervention.doubled", "Another item has this code.")])
        except Invalid as error:
            results.append(SavedIntervention("refused", violations=error.violations))
            continue
        except Unread:
            results.append(SavedIntervention("refused"))
            continue
        seen.add(item.code)
        results.append(_save(work, item.code, values, newest.get(item.code)))
    await work.db.flush()
    await _refuse_too_many(work)
    return results


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_intervention(work: Work, intervention_id: UUID) -> Intervention:
    """Publishes a draft, and retires the previously published version of the same code.

    Supports that cite the retired version continue to cite it.
    """
    entry = await _lock(work, intervention_id)
    if entry.state != InterventionState.DRAFT:
        raise Conflict(f"This version is {entry.state}: write a new draft.", code="intervention.state")
    query = select(Intervention).where(
        Intervention.district_id == work.district_id,
        Intervention.code == entry.code,
        Intervention.state == InterventionState.PUBLISHED,
    )
    earlier = await work.db.scalar(query.with_for_update())
    if earlier is not None:
        await _retire(work, earlier)
    entry.state, entry.published_at = InterventionState.PUBLISHED, now()
    entry.version += 1
    await work.db.flush()
    _emit(work, INTERVENTION_PUBLISHED, entry)
    return entry


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_intervention(work: Work, intervention_id: UUID) -> Intervention:
    """Retires a published version, or drops a draft. Supports can no longer cite it, but existing citations stay."""
    entry = await _lock(work, intervention_id)
    if entry.state == InterventionState.RETIRED:
        raise Conflict("This version is retired already.", code="intervention.state")
    await _retire(work, entry)
    _emit(work, INTERVENTION_RETIRED, entry)
    return entry


async def _refuse_too_many(work: Work) -> None:
    """Raises `Conflict` if the library has more drafts and published entries than it may have."""
    kept = (Intervention.district_id == work.district_id, Intervention.state != InterventionState.RETIRED)
    if (await work.db.scalar(select(func.count(Intervention.code.distinct())).where(*kept)) or 0) > MAX_ENTRIES:
        detail = f"A library has at most {MAX_ENTRIES} entries that are not retired."
        raise Conflict(detail, code="intervention.too_many")


async def _newest_versions(work: Work, codes: Sequence[str]) -> dict[str, Intervention]:
    """Returns the newest version of each of these codes, locked until the end of the transaction."""
    storable = sorted({code for code in codes if "\x00" not in code})
    rows = await work.db.scalars(
        select(Intervention)
        .where(Intervention.district_id == work.district_id, Intervention.code.in_(storable))
        .order_by(Intervention.code, Intervention.number)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.code: row for row in rows}


def _resolve(new: NewIntervention, areas: AreasByName, ranks: Set[int], at: str) -> dict[str, Any]:
    """Converts an entry of a request to the values of the table's columns; raises `Invalid` with every violation.

    `areas` has the areas that the entries of the request name, and `ranks` the ranks of the levels in force.
    """
    violations = Violations([*input_violations(new, at)])
    violations.add(violations_of(new, at))
    area_ids: list[UUID] = []
    with violations:
        for place, name in enumerate(new.areas):
            with violations:
                area_ids.append(areas.find(name, f"{at}/areas/{place}").id)
    with violations:
        for place, rank in enumerate(new.levels):
            with violations:
                if rank not in ranks:
                    raise unknown_name("level", f"{at}/levels/{place}")
    violations.refuse()
    values: dict[str, Any] = {name: getattr(new, name) for name in (*TEXTS, *NUMBERS)}
    lists = {name: list(getattr(new, name)) for name in ("levels", "steps", "checklist", "languages")}
    return values | lists | {"area_ids": area_ids}


def _save(work: Work, code: str, values: Mapping[str, Any], newest: Intervention | None) -> SavedIntervention:
    if newest is not None and all(getattr(newest, name) == value for name, value in values.items()):
        return SavedIntervention("unchanged", newest)
    if newest is not None and newest.state == InterventionState.DRAFT:
        for name, value in values.items():
            setattr(newest, name, value)
        newest.version += 1
        return SavedIntervention("amended", newest)
    entry = Intervention(
        district_id=work.district_id,
        id=new_id(),
        code=code,
        number=1 if newest is None else newest.number + 1,
        state=InterventionState.DRAFT,
        created_at=now(),
        version=1,
        **values,
    )
    work.db.add(entry)
    return SavedIntervention("recorded", entry)


async def _lock(work: Work, intervention_id: UUID) -> Intervention:
    query = select(Intervention).where(Intervention.district_id == work.district_id, Intervention.id == intervention_id)
    entry = await work.db.scalar(query.with_for_update().execution_options(populate_existing=True))
    if entry is None:
        raise NotFound("intervention")
    return entry


async def _retire(work: Work, entry: Intervention) -> None:
    entry.state, entry.retired_at = InterventionState.RETIRED, now()
    entry.version += 1
    await work.db.flush()


def _emit(work: Work, type_: EventType, entry: Intervention) -> None:
    record(work, NewEvent(type=type_, subject_id=entry.id, subject_version=entry.version, ids={}))

"""Reads which syncs changed a person or the person's enrollments, and declares what both APIs show of this.

Returns no values of the changed fields.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.resources.members import Id
from app.resources.values import Value, item
from app.roster.lookup import locate_staff, locate_student
from app.roster.models import Enrollment, Person
from app.sis.models import SisChange, SisRun
from app.sis.runs.queries import RunOfSource, source_names

ACTION_SENTENCES = {
    "create": "came for the first time from {source}.",
    "update": "was changed, as {source} had it.",
    "restore": "was in {source} again and came back.",
    "remove": "was removed: {source} marked it as deleted.",
    "absent": "was removed: it was no longer in {source}.",
    "rekey": "is known by another sourcedId in {source}, and is the same.",
}
UNDO_PHRASES = {
    **{"create": "came", "update": "was put back", "restore": "came back", "remove": "was removed"},
    "absent": "was removed",
    "rekey": "is known by the earlier sourcedId again",
}


class SyncStepValue(Value):
    """What one sync did to a person, or to an enrollment of the person."""

    run: Id = item("The run.", kind="run", graphql="run_id", get=attrgetter("run.run.id"))
    source: str = item("The name of the source.", "sis", get=attrgetter("run.source"))
    at: datetime = item("When the run ended; for a run that has not ended, when it began.", get=attrgetter("run.when"))
    kind: str = item("person or enrollment.", "enrollment")
    action: str = item("create, update, restore, remove (marked as deleted) or absent (no longer sent).", "create")
    class_id: Id | None = item("The class of an enrollment.", kind="class")
    sentence: str = item("The step in one sentence.", "An enrollment came for the first time from sis.")


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A change that one run made to a person or to one of the person's enrollments."""

    run: RunOfSource
    kind: str
    action: str
    class_id: UUID | None
    sentence: str


@dataclass(frozen=True, slots=True)
class _Step:
    """A change that a run made to the person `person_id`, or to an enrollment of this person.

    The time and the source of the run are read later.
    """

    person_id: UUID
    run_id: UUID
    kind: str
    action: str
    class_id: UUID | None


@needs(Can.READ_SYNC, Can.READ_ROSTER)
async def history_of(work: Work, name: str) -> tuple[Person, list[HistoryEntry]]:
    """Returns the person whose id or external id is `name`, and the changes that syncs made to this person.

    The newest change comes first. Raises `NotFound`.
    """
    try:
        person = await locate_student(work, name)
    except NotFound:
        person = await locate_staff(work, name)
    return person, (await histories_of(work, [person.id]))[person.id]


@needs(Can.READ_SYNC, Can.READ_ROSTER)
async def histories_of(work: Work, person_ids: Sequence[UUID]) -> dict[UUID, list[HistoryEntry]]:
    """Returns all changes that syncs made to these people, newest first, keyed by person.

    People whom the caller may not see are left out. A change says what was done, but has no values, because the APIs
    may not read the values from before a change.
    """
    steps = await _steps_of(work, person_ids)
    runs_of = await work.db.scalars(
        select(SisRun).where(SisRun.district_id == work.district_id, SisRun.id.in_({step.run_id for step in steps}))
    )
    names = await source_names(work)
    runs_by_id = {row.id: RunOfSource(row, names[row.source_id]) for row in runs_of}
    histories: defaultdict[UUID, list[HistoryEntry]] = defaultdict(list)
    for step in steps:
        run = runs_by_id[step.run_id]
        sentence = _entry_sentence(run, step.kind, step.action)
        histories[step.person_id].append(HistoryEntry(run, step.kind, step.action, step.class_id, sentence))
    for entries in histories.values():
        entries.sort(key=lambda entry: (entry.run.when, entry.kind), reverse=True)
    return histories


async def _steps_of(work: Work, person_ids: Sequence[UUID]) -> list[_Step]:
    people = await work.db.scalars(
        select(Person).where(Person.district_id == work.district_id, Person.id.in_(person_ids))
    )
    enrolled = (
        await work.db.scalars(
            select(Enrollment).where(Enrollment.district_id == work.district_id, Enrollment.person_id.in_(person_ids))
        )
    ).all()
    steps = [_Step(row.id, row.arrived_in, "person", "create", None) for row in people if row.arrived_in]
    steps += [
        _Step(row.person_id, row.arrived_in, "enrollment", "create", row.class_id) for row in enrolled if row.arrived_in
    ]
    by_id = {row.id: row for row in enrolled}
    changed = await work.db.execute(
        select(SisChange.run_id, SisChange.kind, SisChange.action, SisChange.row_id).where(
            SisChange.district_id == work.district_id,
            ((SisChange.kind == "person") & SisChange.row_id.in_(person_ids))
            | ((SisChange.kind == "enrollment") & SisChange.row_id.in_(by_id)),
        )
    )
    for row in changed:
        enrollment = by_id.get(row.row_id) if row.kind == "enrollment" else None
        person_id = row.row_id if enrollment is None else enrollment.person_id
        class_id = None if enrollment is None else enrollment.class_id
        steps.append(_Step(person_id, row.run_id, row.kind, row.action, class_id))
    return steps


def _entry_sentence(run_of: RunOfSource, kind: str, action: str) -> str:
    subject = "The person" if kind == "person" else "An enrollment"
    if run_of.run.undoes is not None:
        return f"{subject} {UNDO_PHRASES[action]} because an earlier sync was undone."
    return f"{subject} {ACTION_SENTENCES[action].format(source=run_of.source)}"


@needs(Can.READ_SYNC, Can.READ_ROSTER)
async def sync_histories(work: Work, keys: Sequence[tuple[UUID]]) -> list[Any]:
    """Returns, for each of these people, the changes that syncs made. `keys` has a tuple with the id of each person."""
    histories = await histories_of(work, [person_id for (person_id,) in keys])
    return [histories.get(person_id, []) for (person_id,) in keys]

"""Records and removes incidents. A sent incident that matches a stored incident amends it; any other is new.

Incidents match by the sender's external id. An incident without an external id matches one without an external id that
has the same student, instant and kind. An invalid incident is refused with every violation, and the others are
recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations, known_values, readable
from app.incident.lookup import load_kinds, unknown_kind
from app.incident.models import Incident
from app.incident.rules import MAX_BATCH, day_of, is_instant, violations_of_incident
from app.playbook.models import IncidentKind
from app.requests.bulk import ItemOutcome, ItemResult, amend_row, result_of
from app.roster.lookup import IdList, today_of, zone_of
from app.roster.models import Person
from app.roster.student_lock import lock_student_of, lock_students_by_name

BECAUSE = Text(min=1, max=500)
Key = tuple[UUID, datetime, str]
"""The student, the instant and the code of the kind of an incident."""


@dataclass(frozen=True, slots=True)
class NewIncident:
    """The part of one student in something that happened at school.

    Sending an unchanged incident again changes nothing.
    """

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    occurred_at: Annotated[
        datetime, About("The instant at which it happened, with an offset.", datetime(2026, 9, 28, 15, 40, tzinfo=UTC))
    ]
    kind: Annotated[str, Text(min=1, max=40), About("The kind: a code of the playbook.", "disruption")]
    place: Annotated[str | None, Text(min=1, max=100), About("Where it happened.", "Cafeteria")] = None
    response: Annotated[
        str | None,
        Text(min=1, max=2000),
        About("What the school did. Write about no other student.", "Talked with the student and called home."),
    ] = None
    shared_reference: Annotated[
        str | None,
        Text(min=1, max=64),
        About("The sender's own id of the event, the same for each student who was involved.", "event-2026-0417"),
    ] = None
    external_id: Annotated[
        str | None,
        Text(min=1, max=200),
        About("The sender's own id, by which the incident is inserted or updated.", "inc-2026-09-28-4711"),
    ] = None


@dataclass(frozen=True, slots=True)
class _LoadedRows:
    """The students, kinds and stored incidents that are loaded to check the incidents of a request."""

    today: date
    zone: str
    students: dict[str, Person]
    kinds: dict[UUID, IncidentKind]
    by_key: dict[Key, Incident]
    by_external_id: dict[str, Incident]


@needs(Can.RECORD_INCIDENTS)
async def record_incidents(
    work: Work, incidents: Sequence[NewIncident], *, at: str = "/incidents", positions: Sequence[int]
) -> list[ItemResult]:
    """Records up to 500 incidents; returns a result for each incident, in order.

    `at` is the JSON Pointer of the list in the request, and `positions` has the index of each incident in that list.
    """
    if not 1 <= len(incidents) <= MAX_BATCH:
        raise Invalid([Violation(at, "incident.count", f"Send 1 to {MAX_BATCH} incidents at once.")])
    loaded = await _load_rows(work, incidents)
    added: list[Incident] = []
    written: set[UUID] = set()
    results = [
        result_of(partial(_record, work, new, loaded, f"{at}/{position}", added, written))
        for new, position in zip(incidents, positions, strict=True)
    ]
    work.db.add_all(added)
    await work.db.flush()
    return results


@needs(Can.RECORD_INCIDENTS)
async def remove_incident(
    work: Work,
    incident_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it is removed.", "It was another student.")],
) -> Incident:
    """Removes an incident. Sending the same incident again restores it."""
    BECAUSE.require(because, "/because")
    incident = await lock_student_of(work, Incident, Incident.id, incident_id)
    if incident is None or incident.removed_at is not None:
        raise NotFound("incident")
    work.disclose("incident", [incident.student_id])
    incident.removed_at, incident.removed_because = now(), because
    incident.version += 1
    await work.db.flush()
    return incident


async def _load_rows(work: Work, incidents: Sequence[NewIncident]) -> _LoadedRows:
    """Locks the students of a request, and loads the rows against which its incidents are checked."""
    students = await lock_students_by_name(work, readable(incidents, "student"))
    kinds = {kind.id: kind for kind in await load_kinds(work)}
    external_ids = {name for name in readable(incidents, "external_id") if name is not None and "\x00" not in name}
    instants = {instant for instant in readable(incidents, "occurred_at") if is_instant(instant)}
    student_ids = sorted({student.id for student in students.values()})
    without_external_id = (
        Incident.student_id == any_(cast(student_ids, IdList)),
        Incident.occurred_at.in_(instants),
        Incident.external_id.is_(None),
    )
    by_sender = (Incident.sender == work.principal.client_id, Incident.external_id.in_(external_ids))
    by_key: dict[Key, Incident] = {}
    by_external_id: dict[str, Incident] = {}
    for conditions in (without_external_id if instants else None, by_sender if external_ids else None):
        if conditions is None:
            continue
        query = select(Incident).where(Incident.district_id == work.district_id, *conditions)
        for row in await work.db.scalars(query.execution_options(populate_existing=True)):
            if row.external_id is None:
                by_key[row.student_id, row.occurred_at, kinds[row.kind_id].code] = row
            else:
                by_external_id[row.external_id] = row
    return _LoadedRows(await today_of(work), await zone_of(work), students, kinds, by_key, by_external_id)


def _record(
    work: Work, new: NewIncident, loaded: _LoadedRows, at: str, added: list[Incident], written: set[UUID]
) -> ItemResult:
    violations, values = Violations(input_violations(new, at)), known_values(new)
    texts = (values.get("occurred_at"), values.get("shared_reference"))
    violations.add(violations_of_incident(*texts, loaded.today, loaded.zone, at))
    stored: Incident | None = None
    with violations:
        student = _locate_student(new, loaded, at)
        stored = _match(new, student, loaded, at)
    with violations:
        kind_id = _kind_of(new, stored, loaded, at)
    violations.refuse()
    content = {
        **{"occurred_at": new.occurred_at, "occurred_on": day_of(new.occurred_at, loaded.zone), "kind_id": kind_id},
        **{"place": new.place, "response": new.response, "shared_reference": new.shared_reference},
        **{"removed_at": None, "removed_because": None},
    }
    if stored is None:
        row = _new_row(work, student, new, content)
        added.append(row)
        written.add(row.id)
        _index(row, new, loaded)
        return ItemResult(ItemOutcome.RECORDED, row)
    detail = "Another item of the request says something else of this incident."
    return amend_row(stored, content, written, Violation(at, "incident.doubled", detail))


def _locate_student(new: NewIncident, loaded: _LoadedRows, at: str) -> Person:
    student = loaded.students.get(new.student)
    if student is None:
        detail = "There is no such student within this caller's reach."
        raise Invalid([Violation(f"{at}/student", "student.unknown", detail)])
    if student.removed_at is not None:
        detail = "This student has left. Incidents are recorded when the student is back."
        raise Invalid([Violation(f"{at}/student", "student.departed", detail)])
    return student


def _match(new: NewIncident, student: Person, loaded: _LoadedRows, at: str) -> Incident | None:
    """Returns the stored incident that a sent incident amends, or None if the sent incident is new.

    Raises `Invalid` if the external id belongs to an incident of another student.
    """
    if new.external_id is None:
        return loaded.by_key.get((student.id, new.occurred_at, new.kind))
    stored = loaded.by_external_id.get(new.external_id)
    if stored is not None and stored.student_id != student.id:
        detail = "This external id belongs to an incident of another student: remove that one, and send a new id."
        raise Invalid([Violation(f"{at}/external_id", "incident.two_identities", detail)])
    return stored


def _kind_of(new: NewIncident, stored: Incident | None, loaded: _LoadedRows, at: str) -> UUID:
    """Returns the id of the kind with the sent code.

    If the incident is already stored with a kind of this code, it keeps this kind, even if the kind is retired.
    """
    if stored is not None and loaded.kinds[stored.kind_id].code == new.kind:
        return stored.kind_id
    for kind in loaded.kinds.values():
        if kind.code == new.kind and kind.until_version is None:
            return kind.id
    raise unknown_kind(f"{at}/kind")


def _new_row(work: Work, student: Person, new: NewIncident, content: dict[str, Any]) -> Incident:
    return Incident(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        recorded_by=work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        recorded_at=now(),
        version=1,
        **content,
    )


def _index(row: Incident, new: NewIncident, loaded: _LoadedRows) -> None:
    if row.external_id is None:
        loaded.by_key[row.student_id, row.occurred_at, new.kind] = row
    else:
        loaded.by_external_id[row.external_id] = row

"""Records, amends and removes sessions of supports. The values from before a change are kept. No field is free text.

* If a sent session matches a stored session, the stored session is amended. Sessions match if they have the same
  external id of the sender, or else the same support, day and number.
* Any other sent session is stored as a new one.
* An invalid session is refused with its violations, and the other sessions of the batch are recorded.

This file exceeds 250 lines because each input states its description and an example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import and_, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import KnownValues, Unread, Violations, input_violations, known_values, readable
from app.intervention.adherence import CHECKED, DoneParts, marks_of
from app.intervention.lookup import checklist_sizes
from app.roster.lookup import today_of
from app.support.lookup import lock_support
from app.support.models import Phase, Session, SessionChange, Support
from app.support.phase import student_columns
from app.support.rules import LostBecause, SessionInput, suspensions_of, violations_of_session

MAX_BATCH = 500
KEPT_COLUMNS = (
    *("held_on", "number", "planned_minutes", "delivered_minutes", "attended", "lost_because", "removed_at"),
    *CHECKED,
)
"""The columns whose values are copied to the log of changes before a session is changed."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be recorded: one delivery of the support, which took place or was lost.

    Sending the same session again changes nothing. Without `planned_minutes`, the minutes planned by the phase are
    used. Without `delivered_minutes`, all planned minutes count as delivered if the student attended, otherwise none.
    """

    held_on: Annotated[
        date, About("The day on which the session took place, or should have taken place.", date(2026, 9, 22))
    ]
    attended: Annotated[bool, About("Whether the student was present.", True)]
    number: Annotated[int, About("The session's number, where there are several on the day.", 1)] = 1
    planned_minutes: Annotated[
        int | None,
        About("By default, the minutes that the phase plans; 0 for a session that makes up for another.", 30),
    ] = None
    delivered_minutes: Annotated[
        int | None,
        About("The delivered minutes; by default, the planned minutes if the student attended, otherwise 0.", 30),
    ] = None
    lost_because: Annotated[
        str | None,
        Choices(LostBecause),
        About("Why minutes were lost; required where fewer were delivered than planned.", "absent"),
    ] = None
    done_parts: DoneParts = None
    external_id: Annotated[
        str | None,
        Text(min=1, max=200),
        About("The sender's own id, by which the session is inserted or updated.", "log-3391"),
    ] = None


@dataclass(frozen=True, slots=True)
class SessionAmendment:
    """The corrections of a session. A field that is None leaves the stored value unchanged.

    If no minutes are lost after the correction and `lost_because` is None, the stored reason for lost minutes is
    deleted.
    """

    held_on: Annotated[date | None, About("The corrected day.", date(2026, 9, 23))] = None
    number: Annotated[int | None, About("The corrected number on the day.", 2)] = None
    planned_minutes: Annotated[int | None, About("The corrected planned minutes.", 30)] = None
    delivered_minutes: Annotated[int | None, About("The corrected delivered minutes.", 20)] = None
    attended: Annotated[bool | None, About("Whether the student was present.", True)] = None
    lost_because: Annotated[
        str | None, Choices(LostBecause, as_text=True), About("The corrected reason for lost minutes.", "schedule")
    ] = None
    done_parts: DoneParts = None


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """The result for one sent session: `recorded`, `amended`, `unchanged`, or `refused` with the violations."""

    outcome: str
    session: Session | None = None
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class _SessionBatch:
    """The rows that are needed to record a batch of sessions: support, phases and existing sessions.

    They are loaded once. `checklist_sizes` has the number of parts of each checklist that a phase uses. The key is the
    id of the library entry that has the checklist.
    """

    support: Support
    phases: list[Phase]
    today: date
    sessions: list[Session]
    checklist_sizes: Mapping[UUID, int]


@needs(Can.RECORD_SESSIONS)
async def record_sessions(
    work: Work,
    support_id: UUID,
    new: Sequence[NewSession],
    *,
    at: str = "/sessions",
    positions: Sequence[int] | None = None,
) -> list[RecordedSession]:
    """Records up to 500 sessions of a support that has begun; returns one result per session, in order.

    `positions` has the index of each session in the request, if `new` has only a part of the request's sessions.
    """
    if not 1 <= len(new) <= MAX_BATCH:
        raise Invalid([Violation(at, "sessions.count", f"Send 1 to {MAX_BATCH} sessions at once.")])
    batch = await _load_batch(work, support_id, new)
    results = []
    for position, session in zip(range(len(new)) if positions is None else positions, new, strict=True):
        try:
            results.append(await _record(work, session, batch, f"{at}/{position}"))
        except Invalid as error:
            results.append(RecordedSession("refused", violations=error.violations))
        except Unread:
            results.append(RecordedSession("refused"))
    await work.db.flush()
    return results


@needs(Can.RECORD_SESSIONS)
async def amend_session(work: Work, session_id: UUID, amendment: SessionAmendment) -> Session:
    """Corrects a session, and keeps the values from before the correction."""
    row, batch = await _load_session(work, session_id)
    given = known_values(amendment)
    values = KnownValues({name: getattr(row, name) if value is None else value for name, value in given.items()})
    violations = Violations(input_violations(amendment))
    with violations:
        if amendment.delivered_minutes is None and amendment.attended not in (None, row.attended):
            values.pop("delivered_minutes", None)
            values["delivered_minutes"] = values["planned_minutes"] if amendment.attended else 0
        if amendment.lost_because is None and values["delivered_minutes"] >= values["planned_minutes"]:
            values["lost_because"] = None
    with violations:
        if amendment.done_parts is not None:
            values |= _marks(amendment.done_parts, batch, values["held_on"], "")
    violations.add(_violations_of(values, batch, ""))
    with violations:
        if any(
            session is not row and (session.held_on, session.number) == (values["held_on"], values["number"])
            for session in batch.sessions
        ):
            detail = "Another session of this support has this day and number."
            raise Invalid([Violation("/number", "session.two_identities", detail)])
    violations.refuse()
    await save_changes(work, row, values)
    return row


@needs(Can.RECORD_SESSIONS)
async def remove_session(work: Work, session_id: UUID) -> Session:
    """Removes a session that was recorded by mistake. Whether the support was delivered on that day is then unknown."""
    row, _ = await _load_session(work, session_id)
    await save_changes(work, row, {"removed_at": now()})
    return row


async def _load_session(work: Work, session_id: UUID) -> tuple[Session, _SessionBatch]:
    is_requested = (Session.district_id == work.district_id, Session.id == session_id)
    support_id = await work.db.scalar(select(Session.support_id).where(*is_requested))
    if support_id is None:
        raise NotFound("session")
    batch = await _load_batch(work, support_id, [])
    row = next((session for session in batch.sessions if session.id == session_id and session.removed_at is None), None)
    if row is None:
        raise NotFound("session")
    work.disclose("session", [row.student_id])
    return row, batch


async def _load_batch(work: Work, support_id: UUID, new: Sequence[NewSession]) -> _SessionBatch:
    support = await lock_support(work, support_id)
    if support.state == "planned":
        detail = "This support has not begun: start it, then record its sessions."
        raise Conflict(detail, code="support.state")
    of_support = (Phase.district_id == work.district_id, Phase.support_id == support_id)
    phases = list(await work.db.scalars(select(Phase).where(*of_support).order_by(Phase.number)))
    external_ids = [external_id for external_id in readable(new, "external_id") if external_id is not None]
    has_external_id = and_(Session.sender == work.principal.client_id, Session.external_id.in_(external_ids))
    sessions = await work.db.scalars(
        select(Session)
        .where(Session.district_id == work.district_id, or_(Session.support_id == support_id, has_external_id))
        .execution_options(populate_existing=True)
    )
    entries = {phase.intervention_id for phase in phases if phase.intervention_id is not None}
    sizes = await checklist_sizes(work, entries)
    return _SessionBatch(support, phases, await today_of(work), list(sessions), sizes)


async def _record(work: Work, new: NewSession, batch: _SessionBatch, at: str) -> RecordedSession:
    violations, values = Violations(input_violations(new, at)), _values_of(new)
    with violations:
        if new.planned_minutes is None:
            values["planned_minutes"] = _planned_minutes(batch.phases, new.held_on)
    with violations:
        if new.delivered_minutes is None:
            values["delivered_minutes"] = values["planned_minutes"] if new.attended else 0
    with violations:
        if new.done_parts is not None:
            values |= _marks(new.done_parts, batch, new.held_on, at)
    violations.add(_violations_of(values, batch, at))
    with violations:
        existing = _match(work, new, batch, at)
    violations.refuse()
    if existing is not None:
        if new.external_id is not None and existing.external_id is None:
            values |= {"external_id": new.external_id, "sender": work.principal.client_id}
        work.disclose("session", [existing.student_id])
        return RecordedSession(
            "amended" if await save_changes(work, existing, values | {"removed_at": None}) else "unchanged", existing
        )
    row = Session(
        **student_columns(batch.support),
        **values,
        id=new_id(),
        support_id=batch.support.id,
        recorded_by=work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        recorded_at=now(),
        version=1,
    )
    work.db.add(row)
    batch.sessions.append(row)
    work.disclose("session", [row.student_id])
    return RecordedSession("recorded", row)


def _values_of(new: NewSession) -> KnownValues:
    """Returns the values that are given for a session. Leaves out malformed values."""
    readable_values = known_values(new)
    minutes = ("planned_minutes", "delivered_minutes")
    return KnownValues(
        {
            name: value
            for name, value in readable_values.items()
            if name in SessionInput.__slots__ and (name not in minutes or value is not None)
        }
    )


def _violations_of(values: dict[str, Any], batch: _SessionBatch, at: str) -> Violations:
    of_support: dict[str, Any] = {
        "begins_on": min(phase.begins_on for phase in batch.phases),
        "ends_on": batch.support.ends_on,
    }
    of_support["suspensions"] = suspensions_of(batch.support.suspended_on, batch.support.resumed_on)
    return violations_of_session(values | of_support | {"today": batch.today}, at)


def _match(work: Work, new: NewSession, batch: _SessionBatch, at: str) -> Session | None:
    of_support = [row for row in batch.sessions if row.support_id == batch.support.id]
    by_key = next((row for row in of_support if (row.held_on, row.number) == (new.held_on, new.number)), None)
    if new.external_id is None:
        return by_key
    sender = work.principal.client_id
    by_external_id = next(
        (row for row in batch.sessions if (row.sender, row.external_id) == (sender, new.external_id)),
        None,
    )
    detail = None
    if by_external_id is None and by_key is not None and by_key.sender == sender and by_key.external_id is not None:
        detail = "This sender gave the session of this day and number another external id before."
    elif by_external_id is not None and by_external_id.support_id != batch.support.id:
        detail = "This external id belongs to a session of another support."
    elif by_external_id is not None and by_key not in (None, by_external_id):
        detail = "This external id belongs to a session of another day and number."
    if detail is not None:
        raise Invalid([Violation(f"{at}/external_id", "session.two_identities", detail)])
    return by_external_id or by_key


@needs(Can.RECORD_SESSIONS)
async def save_changes(work: Work, row: Session, values: dict[str, Any]) -> bool:
    """Writes these values to a session, and keeps the previous ones. Returns whether any value has changed.

    If all values are as before, the function writes nothing.
    """
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return False
    # A session that this batch has just created must be in the database before a logged change can refer to it.
    await work.db.flush()
    before = {name: getattr(row, name) for name in KEPT_COLUMNS}
    work.db.add(
        SessionChange(
            district_id=row.district_id,
            student_id=row.student_id,
            school_ids=row.school_ids,
            secured_area=row.secured_area,
            id=new_id(),
            session_id=row.id,
            version=row.version,
            before={name: value.isoformat() if isinstance(value, date) else value for name, value in before.items()},
            changed_by=work.principal.person_id,
            sender=work.principal.client_id,
            changed_at=now(),
        )
    )
    for name, value in changed.items():
        setattr(row, name, value)
    row.version += 1
    # A later session of the batch may take over the day and number that this session had.
    await work.db.flush()
    return True


def _marks(done_parts: Sequence[int], batch: _SessionBatch, day: date, at: str) -> dict[str, Any]:
    """Returns the values of the columns that store which parts of a checklist were done.

    The checklist is that of the phase that is current on `day`.
    """
    entry_id = _phase_on(batch.phases, day).intervention_id
    return marks_of(done_parts, 0 if entry_id is None else batch.checklist_sizes.get(entry_id, 0), at)


def _planned_minutes(phases: Sequence[Phase], day: date) -> int:
    """Returns the planned minutes of one session on a day, by the phase that is current on this day.

    For a day before the first phase, the plan of the first phase applies.
    """
    return _phase_on(phases, day).minutes_per_session


def _phase_on(phases: Sequence[Phase], day: date) -> Phase:
    begun_phases = [phase for phase in phases if phase.begins_on <= day]
    return begun_phases[-1] if begun_phases else phases[0]

"""Owns the writes of sessions: record, amend, remove. What a session said before is kept; nothing is said in free text.

A session is upserted by the sender's external id, else by support, day and number; one bad session of many is refused
alone and named, the others are taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.roster.lookup import zone_of
from app.support.lookup import lock_support
from app.support.models import Phase, Session, SessionChange, Support
from app.support.phase import student_columns
from app.support.rules import SessionInput, violations_of_session

MOST_AT_ONCE = 500
SAID = ("held_on", "number", "planned_minutes", "delivered_minutes", "attended", "lost_because", "removed_at")
"""What is kept of a session that is changed."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session as a sender gives it. Without minutes: planned as the phase plans, delivered all or nothing."""

    held_on: date
    attended: bool
    number: int = 1
    planned_minutes: int | None = None
    delivered_minutes: int | None = None
    lost_because: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionAmendment:
    """What a session should have said; what is not named stays. A reason goes when nothing is lost any more."""

    held_on: date | None = None
    number: int | None = None
    planned_minutes: int | None = None
    delivered_minutes: int | None = None
    attended: bool | None = None
    lost_because: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """What became of one session: `recorded`, `amended`, `unchanged`, or `refused` with the reasons."""

    outcome: str
    session: Session | None = None
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a batch needs to know, read at once."""

    support: Support
    phases: list[Phase]
    today: date
    there: list[Session]


@needs(Can.RECORD_SESSIONS)
async def record_sessions(
    work: Work, support_id: UUID, new: Sequence[NewSession], *, at: str = "/sessions"
) -> list[RecordedSession]:
    """Takes up to 500 sessions of a support that has begun, each by itself; one result for each, in order."""
    if not 1 <= len(new) <= MOST_AT_ONCE:
        raise Invalid([Violation(at, "sessions.count", f"Send 1 to {MOST_AT_ONCE} sessions at once.")])
    known = await _read(work, support_id, new)
    taken = []
    for position, one in enumerate(new):
        try:
            taken.append(await _take(work, one, known, f"{at}/{position}"))
        except Invalid as error:
            taken.append(RecordedSession("refused", violations=error.violations))
    await work.db.flush()
    return taken


@needs(Can.RECORD_SESSIONS)
async def amend_session(work: Work, session_id: UUID, amendment: SessionAmendment) -> Session:
    """Sets a session right; what it said before is kept."""
    row, known = await _one(work, session_id)
    told = ((name, getattr(amendment, name)) for name in SessionAmendment.__slots__)
    wanted = {name: getattr(row, name) if value is None else value for name, value in told}
    if amendment.delivered_minutes is None and amendment.attended not in (None, row.attended):
        wanted["delivered_minutes"] = wanted["planned_minutes"] if amendment.attended else 0
    if amendment.lost_because is None and wanted["delivered_minutes"] >= wanted["planned_minutes"]:
        wanted["lost_because"] = None
    _refuse(wanted, known, "")
    if any(
        one is not row and (one.held_on, one.number) == (wanted["held_on"], wanted["number"]) for one in known.there
    ):
        detail = "Another session of this support has this day and number."
        raise Invalid([Violation("/number", "session.two_identities", detail)])
    await _change(work, row, wanted)
    return row


@needs(Can.RECORD_SESSIONS)
async def remove_session(work: Work, session_id: UUID) -> Session:
    """Takes back a session that should not have been recorded: its day is unknown again."""
    row, _ = await _one(work, session_id)
    await _change(work, row, {"removed_at": now()})
    return row


async def _one(work: Work, session_id: UUID) -> tuple[Session, _Known]:
    mine = (Session.district_id == work.district_id, Session.id == session_id)
    support_id = await work.db.scalar(select(Session.support_id).where(*mine))
    if support_id is None:
        raise NotFound("session")
    known = await _read(work, support_id, [])
    row = next((one for one in known.there if one.id == session_id and one.removed_at is None), None)
    if row is None:
        raise NotFound("session")
    work.disclose("session", [row.student_id])
    return row, known


async def _read(work: Work, support_id: UUID, new: Sequence[NewSession]) -> _Known:
    support = await lock_support(work, support_id)
    if support.state == "planned":
        detail = "This support has not begun: start it, then record its sessions."
        raise Conflict(detail, code="support.state")
    mine = (Phase.district_id == work.district_id, Phase.support_id == support_id)
    phases = await work.db.scalars(select(Phase).where(*mine).order_by(Phase.number))
    names = [one.external_id for one in new if one.external_id is not None]
    by_name = and_(Session.sender == work.principal.client_id, Session.external_id.in_(names))
    there = await work.db.scalars(
        select(Session)
        .where(Session.district_id == work.district_id, or_(Session.support_id == support_id, by_name))
        .execution_options(populate_existing=True)
    )
    return _Known(support, list(phases), today_in(await zone_of(work)), list(there))


async def _take(work: Work, new: NewSession, known: _Known, at: str) -> RecordedSession:
    planned = _minutes_of(known.phases, new.held_on) if new.planned_minutes is None else new.planned_minutes
    otherwise = planned if new.attended else 0
    wanted: dict[str, Any] = {
        "held_on": new.held_on,
        "number": new.number,
        "planned_minutes": planned,
        "delivered_minutes": otherwise if new.delivered_minutes is None else new.delivered_minutes,
        "attended": new.attended,
        "lost_because": new.lost_because,
    }
    _refuse(wanted, known, at)
    there = _already_there(work, new, known, at)
    if there is not None:
        if new.external_id is not None and there.external_id is None:
            wanted |= {"external_id": new.external_id, "sender": work.principal.client_id}
        work.disclose("session", [there.student_id])
        return RecordedSession(
            "amended" if await _change(work, there, wanted | {"removed_at": None}) else "unchanged", there
        )
    row = Session(
        **student_columns(known.support),
        **wanted,
        id=new_id(),
        support_id=known.support.id,
        recorded_by=work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        recorded_at=now(),
        version=1,
    )
    work.db.add(row)
    known.there.append(row)
    work.disclose("session", [row.student_id])
    return RecordedSession("recorded", row)


def _refuse(wanted: dict[str, Any], known: _Known, at: str) -> None:
    told = {name: value for name, value in wanted.items() if name in SessionInput.__slots__}
    begins_on = min(phase.begins_on for phase in known.phases)
    found = violations_of_session(
        SessionInput(**told, begins_on=begins_on, ends_on=known.support.ends_on, today=known.today), at
    )
    if found:
        raise Invalid(found)


def _already_there(work: Work, new: NewSession, known: _Known, at: str) -> Session | None:
    here = [one for one in known.there if one.support_id == known.support.id]
    by_place = next((one for one in here if (one.held_on, one.number) == (new.held_on, new.number)), None)
    if new.external_id is None:
        return by_place
    sender = work.principal.client_id
    by_name = next((one for one in known.there if (one.sender, one.external_id) == (sender, new.external_id)), None)
    detail = None
    if by_name is None and by_place is not None and by_place.sender == sender and by_place.external_id is not None:
        detail = "The same sender gave the session of this day and number another external id."
    elif by_name is not None and by_name.support_id != known.support.id:
        detail = "This external id belongs to a session of another support, and stays with it."
    elif by_name is not None and by_place not in (None, by_name):
        detail = "This external id names another session than this day and number do."
    if detail is not None:
        raise Invalid([Violation(f"{at}/external_id", "session.two_identities", detail)])
    return by_name or by_place


async def _change(work: Work, row: Session, wanted: dict[str, Any]) -> bool:
    """Sets what is different, and keeps what was said; whether anything was."""
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not changed:
        return False
    # First what was said before in the same batch: a change refers to its session.
    await work.db.flush()
    before = {name: getattr(row, name) for name in SAID}
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
    # At once: a later session of the batch may take the place that this one leaves.
    await work.db.flush()
    return True


def _minutes_of(phases: Sequence[Phase], day: date) -> int:
    """What the phase of that day plans for a session; the first phase's before there is one."""
    begun = [phase for phase in phases if phase.begins_on <= day]
    return (begun[-1] if begun else phases[0]).minutes_per_session

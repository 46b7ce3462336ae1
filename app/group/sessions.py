"""Records the sessions of groups. One record covers everybody who was present, and creates a session for each member.

The session of a member belongs to the member's own support, so dosage is counted as for a student who is served alone.
If the group already has a session with the same day and number, the sent session amends it. A session is refused if its
external id belongs to another session. Each call loads the members and sessions once for all the sent sessions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import and_, any_, cast, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Invalid, Violation
from app.core.ids import new_id
from app.core.violations import KnownValues, Unread, Violations, input_violations, known_values, readable
from app.group.inputs import Attendance, NewGroupSession
from app.group.lookup import lock_group_after_members
from app.group.models import Group, GroupMember, GroupSession
from app.group.rules import Presence, delivered_to, lesson_of
from app.intervention.adherence import marks_of
from app.intervention.lookup import checklist_sizes
from app.response import service as response
from app.roster.lookup import IdList, people_by_name, today_of
from app.roster.models import Person
from app.support.models import Session, Support
from app.support.phase import student_columns
from app.support.rules import suspensions_of, violations_of_session
from app.support.session import save_changes

MAX_BATCH = 100
_LESSON = ("held_on", "number", "planned_minutes", "lost_because")


@dataclass(frozen=True, slots=True)
class RecordedGroupSession:
    """The result for one sent session: `recorded`, `amended`, `unchanged`, or `refused` with the violations."""

    outcome: str
    session: GroupSession | None = None
    violations: tuple[Violation, ...] = ()


@dataclass(slots=True)
class _Batch:
    """The rows that are needed to record sessions of a group, loaded once."""

    group: Group
    today: date
    members: list[tuple[GroupMember, Support]]
    students: Mapping[str, Person]
    lessons: list[GroupSession]
    sessions: dict[tuple[UUID, date, int], Session]
    checklist_sizes: Mapping[UUID, int]
    changed: set[UUID] = field(default_factory=set)


@needs(Can.RECORD_SESSIONS)
async def record_group_sessions(
    work: Work,
    group_id: UUID,
    new: Sequence[NewGroupSession],
    *,
    at: str = "/lessons",
    positions: Sequence[int] | None = None,
) -> list[RecordedGroupSession]:
    """Records up to 100 sessions of a group; returns one result per session, in order.

    Only members that the caller may see get a session. New verdicts are computed once, at the end.
    """
    if not 1 <= len(new) <= MAX_BATCH:
        raise Invalid([Violation(at, "sessions.count", f"Send 1 to {MAX_BATCH} sessions at once.")])
    batch = await _load_batch(work, group_id, new)
    results = []
    for position, lesson in zip(range(len(new)) if positions is None else positions, new, strict=True):
        try:
            results.append(await _record(work, lesson, batch, f"{at}/{position}"))
        except Invalid as error:
            results.append(RecordedGroupSession("refused", violations=error.violations))
        except Unread:
            results.append(RecordedGroupSession("refused"))
    await work.db.flush()
    if batch.changed:
        await response.judge_delivery(work, batch.changed)
    return results


async def _load_batch(work: Work, group_id: UUID, new: Sequence[NewGroupSession]) -> _Batch:
    group = await lock_group_after_members(work, group_id)
    of_group = (GroupMember.district_id == work.district_id, GroupMember.group_id == group_id)
    rows = await work.db.execute(
        select(GroupMember, Support)
        .join(Support, and_(Support.district_id == work.district_id, Support.id == GroupMember.support_id))
        .where(*of_group, GroupMember.student_id == any_(cast(sorted(work.locked_students), IdList)))
        .order_by(GroupMember.id)
        .execution_options(populate_existing=True)
    )
    members = [(member, support) for member, support in rows]
    work.disclose("session", (member.student_id for member, _ in members))
    names = set(readable((one for attendance in readable(new, "attendance") for one in attendance), "student"))
    sender = work.principal.client_id
    external_ids = [external_id for external_id in readable(new, "external_id") if external_id is not None]
    is_named = and_(GroupSession.sender == sender, GroupSession.external_id.in_(external_ids))
    lessons = await work.db.scalars(
        select(GroupSession).where(
            GroupSession.district_id == work.district_id, or_(GroupSession.group_id == group_id, is_named)
        )
    )
    stored = list(lessons)
    sessions = await work.db.scalars(
        select(Session)
        .where(
            Session.district_id == work.district_id,
            Session.support_id == any_(cast([support.id for _, support in members], IdList)),
        )
        .execution_options(populate_existing=True)
    )
    return _Batch(
        group,
        await today_of(work),
        members,
        await people_by_name(work, names, students=True) if names else {},
        stored,
        {(row.support_id, row.held_on, row.number): row for row in sessions},
        await checklist_sizes(work, {entry for _, row in members if (entry := row.intervention_id) is not None}),
    )


async def _record(work: Work, new: NewGroupSession, batch: _Batch, at: str) -> RecordedGroupSession:
    violations, readable_values = Violations(input_violations(new, at)), known_values(new)
    lesson_values = KnownValues({name: readable_values[name] for name in _LESSON if name in readable_values})
    served, written = list[Support](), dict[UUID, dict[str, Any]]()
    with violations:
        if new.planned_minutes is None:
            lesson_values["planned_minutes"] = batch.group.minutes_per_session
    records_by_student = _records_of_members(new, batch, at, violations)
    with violations:
        served = _served_on(batch, new.held_on)
    for support in served:
        one, place = records_by_student.pop(support.student_id, (None, at))
        values = KnownValues({name: value for name, value in lesson_values.items() if name != "lost_because"})
        with violations:
            lesson = lesson_of(lesson_values["planned_minutes"], new.delivered_minutes, new.lost_because)
            delivered = delivered_to(lesson, Presence() if one is None else _presence(one))
            values["delivered_minutes"], values["attended"] = delivered.delivered_minutes, delivered.attended
            values["lost_because"] = delivered.lost_because
            if new.done_parts is not None and delivered.attended:
                size = batch.checklist_sizes.get(support.intervention_id, 0) if support.intervention_id else 0
                values |= marks_of(new.done_parts, size, at)
        of_support = {
            "begins_on": support.starts_on,
            "ends_on": support.ends_on,
            "suspensions": suspensions_of(support.suspended_on, support.resumed_on),
            "today": batch.today,
        }
        violations.add(violations_of_session(values | of_support, place))
        written[support.id] = values
    if "held_on" in readable_values:
        detail = "On this day this student was no member, or the support had not begun, was suspended, or had ended."
        violations.add(
            [Violation(f"{place}/student", "group.not_member", detail) for _, place in records_by_student.values()]
        )
    if "held_on" in readable_values and not served and not list(violations):
        detail = "On this day the group served nobody within this caller's reach."
        violations.add([Violation(f"{at}/held_on", "group.nobody", detail)])
    with violations:
        row, outcome = _match(work, new, batch, at)
    violations.refuse()
    if row is not None and new.external_id is not None and row.external_id is None:
        row.external_id, row.sender = new.external_id, work.principal.client_id
    if row is None:
        row, outcome = _new_lesson(work, new, batch, lesson_values["planned_minutes"]), "recorded"
        await work.db.flush()
    is_changed = await _write_sessions(work, batch, row, served, written)
    if outcome == "recorded":
        return RecordedGroupSession(outcome, row)
    if any(getattr(row, name) != value for name, value in lesson_values.items()) or is_changed:
        for name, value in lesson_values.items():
            setattr(row, name, value)
        row.version += 1
        outcome = "amended"
    return RecordedGroupSession(outcome, row)


def _records_of_members(
    new: NewGroupSession, batch: _Batch, at: str, violations: Violations
) -> dict[UUID, tuple[Attendance, str]]:
    """Returns the attendance of single members in a sent session, each with its JSON Pointer, keyed by student.

    If the session names an unknown student, or a student twice, adds a violation to `violations`.
    """
    records_by_student: dict[UUID, tuple[Attendance, str]] = {}
    attendance: Sequence[Attendance] = ()
    with violations:
        attendance = new.attendance
    for position, one in enumerate(attendance):
        place = f"{at}/attendance/{position}"
        with violations:
            student = batch.students.get(one.student)
            if student is None:
                detail = "There is no such student within this caller's reach."
                raise Invalid([Violation(f"{place}/student", "student.unknown", detail)])
            if student.id in records_by_student:
                raise Invalid([Violation(f"{place}/student", "group.same_student", "This student is named twice.")])
            records_by_student[student.id] = (one, place)
    return records_by_student


def _presence(one: Attendance) -> Presence:
    return Presence(one.attended, one.minutes, one.because)


def _served_on(batch: _Batch, day: date) -> list[Support]:
    """Returns the supports of the people who were members of the group on this day.

    Leaves out supports that had not begun, had ended or were suspended on the day.
    """
    return [
        support
        for member, support in batch.members
        if member.from_on <= day
        and (member.until_on is None or day < member.until_on)
        and support.state != "planned"
        and support.starts_on <= day
        and (support.ends_on is None or day <= support.ends_on)
        and not any(one.includes(day) for one in suspensions_of(support.suspended_on, support.resumed_on))
    ]


def _match(work: Work, new: NewGroupSession, batch: _Batch, at: str) -> tuple[GroupSession | None, str]:
    of_group = [row for row in batch.lessons if row.group_id == batch.group.id]
    by_key = next((row for row in of_group if (row.held_on, row.number) == (new.held_on, new.number)), None)
    sender = work.principal.client_id
    by_external_id = None
    if new.external_id is not None:
        given = (sender, new.external_id)
        by_external_id = next((row for row in batch.lessons if (row.sender, row.external_id) == given), None)
    other = by_key is not None and by_key.external_id not in (None, new.external_id) and by_key.sender == sender
    if (by_external_id is not None and (by_external_id.group_id != batch.group.id or by_key is not by_external_id)) or (
        other and new.external_id is not None
    ):
        detail = "This external id belongs to another session, or this session has another external id."
        raise Invalid([Violation(f"{at}/external_id", "session.two_identities", detail)])
    return by_key, "unchanged"


def _new_lesson(work: Work, new: NewGroupSession, batch: _Batch, planned_minutes: int) -> GroupSession:
    row = GroupSession(
        district_id=work.district_id,
        id=new_id(),
        group_id=batch.group.id,
        held_on=new.held_on,
        number=new.number,
        planned_minutes=planned_minutes,
        lost_because=new.lost_because,
        recorded_by=work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        secured_area=batch.group.secured_area,
        recorded_at=now(),
        version=1,
    )
    work.db.add(row)
    batch.lessons.append(row)
    return row


async def _write_sessions(
    work: Work, batch: _Batch, lesson: GroupSession, served: Sequence[Support], written: Mapping[UUID, dict[str, Any]]
) -> bool:
    """Writes the sessions of the members, and returns whether any changed.

    If a session with the same day and number was recorded for a single member before, it becomes part of the group's
    session.
    """
    changed = set()
    for support in served:
        values = written[support.id]
        key = (support.id, values["held_on"], values["number"])
        if (existing := batch.sessions.get(key)) is not None:
            more = {"removed_at": None, "group_session_id": lesson.id}
            if await save_changes(work, existing, values | more):
                changed.add(support.id)
            continue
        row = Session(
            **student_columns(support),
            **values,
            id=new_id(),
            support_id=support.id,
            group_session_id=lesson.id,
            recorded_by=work.principal.person_id,
            sender=None,
            external_id=None,
            recorded_at=now(),
            version=1,
        )
        work.db.add(row)
        batch.sessions[key] = row
        changed.add(support.id)
    batch.changed |= changed
    return bool(changed)

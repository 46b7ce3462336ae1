"""Looks up supports, phases and dosage for commands.

The functions check no permission, because the calling command has already checked the permissions that it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, TIMESTAMP, Date, and_, cast, func, literal_column, select, true

from app.access.work import Work
from app.concern.models import Concern
from app.core import ids
from app.core.db import lateral_lookup
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.playbook.lookup import level_by_id
from app.roster.calendar import off_between, weeks_of_schools
from app.roster.lookup import IdList
from app.roster.models import Person
from app.roster.student_lock import lock_student_of
from app.support.dosage import DeliveredSessions, Dosage, dosage
from app.support.models import Phase, Session, Support
from app.support.rules import suspensions_of


async def lock_support(work: Work, support_id: UUID) -> Support:
    """Locks the student of a support until the end of the transaction, and returns the support; raises `NotFound`."""
    support = await lock_student_of(work, Support, Support.id, support_id)
    if support is None:
        raise NotFound("support")
    work.disclose("support", [support.student_id])
    return support


async def require_present_student(work: Work, support: Support) -> None:
    """Raises `Conflict` if the student of a locked support has left the roster."""
    query = select(Person.removed_at).where(Person.district_id == work.district_id, Person.id == support.student_id)
    if await work.db.scalar(query) is not None:
        detail = "The student of this support has left. It is started when the student is back."
        raise Conflict(detail, code="support.suspended")


async def current_phase(work: Work, support: Support) -> Phase:
    """Returns the current phase of a support. If the support has ended, this is its last phase."""
    phase = await work.db.scalar(
        select(Phase)
        .where(Phase.district_id == work.district_id, Phase.support_id == support.id)
        .order_by(Phase.number.desc())
        .limit(1)
    )
    if phase is None:
        raise NotFound("phase")
    return phase


async def level_rank(work: Work, support: Support) -> int:
    """Returns the rank of the support's current level; 1 is the least intensive level of support."""
    return (await level_by_id(work, support.level_id)).rank


@dataclass(frozen=True, slots=True)
class DosageWindow:
    """The days of one phase for which the dosage is requested: from `since` to `until`, both included.

    Days outside of the phase do not count.
    """

    support: Support
    phase: Phase
    since: date
    until: date

    @property
    def first(self) -> date:
        """Returns the first day of the window that is also a day of the phase."""
        return max(self.since, self.phase.begins_on)

    @property
    def last(self) -> date:
        """Returns the last day of the window that is also a day of the phase.

        The day `ends_on` of a phase is the first day of the next phase. In the last phase of a support, `ends_on` is
        the support's last day and belongs to this phase.
        """
        ends_on = self.phase.ends_on
        if ends_on is None:
            return self.until
        return min(self.until, ends_on if ends_on == self.support.ends_on else ends_on - timedelta(days=1))


Calendar = Sequence[tuple[date, bool]]
"""The weeks of a school in order. Each is a pair: its Monday, and whether there was instruction."""


async def dosages_of(work: Work, windows: Sequence[DosageWindow]) -> list[Dosage]:
    """Returns the dosage in each of these periods of a phase, in the order of `windows`.

    Executes two statements, however many periods there are: one for the sessions and one for the calendar. Does not
    record that the caller has seen the students' data.
    """
    if not windows:
        return []
    delivered = await _load_delivered(work, windows)
    schools = {school for window in windows for school in window.support.school_ids}
    first, last = min(window.first for window in windows), max(window.last for window in windows)
    return compute_dosages(windows, delivered, await weeks_of_schools(work, schools, first, last))


def compute_dosages(
    windows: Sequence[DosageWindow],
    delivered: Sequence[Sequence[DeliveredSessions]],
    calendars: Mapping[UUID, Calendar],
) -> list[Dosage]:
    """Returns the dosage in each of these periods of a phase, computed from loaded data.

    `delivered` has the sums of the sessions of each period, and `calendars` the weeks of each school. Each dosage
    depends only on the weeks of its own period.
    """
    off: dict[tuple[UUID, date, date], frozenset[date] | None] = {}
    dosages = []
    for window, sessions_by_week in zip(windows, delivered, strict=True):
        keys = [(school, window.first, window.last) for school in window.support.school_ids]
        off |= {key: off_between(calendars.get(key[0], ()), *key[1:]) for key in keys if key not in off}
        phase = window.phase
        dosages.append(
            dosage(
                window.first,
                window.last,
                next((weeks for key in keys if (weeks := off[key]) is not None), frozenset()),
                sessions_by_week,
                tuple(
                    suspension.days(window.last)
                    for suspension in suspensions_of(window.support.suspended_on, window.support.resumed_on)
                ),
                minutes_per_session=phase.minutes_per_session,
                sessions_per_week=phase.sessions_per_week,
            )
        )
    return dosages


async def _load_delivered(work: Work, windows: Sequence[DosageWindow]) -> list[list[DeliveredSessions]]:
    """Returns the sums of the sessions in each of these periods of a phase. The database computes the sums.

    There is a sum for each combination of a week and a reason for lost minutes.
    """
    requested = (
        func.unnest(
            cast([window.support.id for window in windows], IdList),
            cast([window.first for window in windows], ARRAY(Date)),
            cast([window.last for window in windows], ARRAY(Date)),
        )
        .table_valued("support_id", "since", "until", with_ordinality="place", name="requested")
        .render_derived()
    )
    recorded = lateral_lookup(
        select(
            *(Session.held_on, Session.planned_minutes, Session.delivered_minutes, Session.lost_because),
            *(Session.done_parts, Session.checklist_size),
        ).where(
            Session.district_id == work.district_id,
            Session.support_id == requested.c.support_id,
            Session.held_on >= requested.c.since,
            Session.held_on <= requested.c.until,
            Session.removed_at.is_(None),
        ),
        "recorded",
    )
    # The cast to a timestamp without a zone keeps the server's time zone from shifting the start of the week.
    monday = cast(func.date_trunc(literal_column("'week'"), cast(recorded.c.held_on, TIMESTAMP)), Date)
    # A session that did not take place says nothing about how the intervention is given.
    is_checked = and_(recorded.c.done_parts.is_not(None), recorded.c.delivered_minutes > literal_column("0"))
    rows = await work.db.execute(
        select(
            requested.c.place,
            monday,
            func.count().filter(recorded.c.planned_minutes > literal_column("0")),
            func.count().filter(recorded.c.delivered_minutes > literal_column("0")),
            func.sum(recorded.c.planned_minutes),
            func.sum(recorded.c.delivered_minutes),
            func.sum(func.greatest(recorded.c.planned_minutes - recorded.c.delivered_minutes, literal_column("0"))),
            recorded.c.lost_because,
            func.count().filter(is_checked),
            func.coalesce(func.sum(func.cardinality(recorded.c.done_parts)).filter(is_checked), literal_column("0")),
            func.coalesce(func.sum(recorded.c.checklist_size).filter(is_checked), literal_column("0")),
        )
        .join_from(requested, recorded, true())
        .group_by(requested.c.place, monday, recorded.c.lost_because)
    )
    sums: list[list[DeliveredSessions]] = [[] for _ in windows]
    for place, *columns in rows:
        sums[place - 1].append(DeliveredSessions(*columns))
    return sums


async def locate_concern(work: Work, name: str, student_id: UUID, place: int) -> Concern:
    """Returns the accepted concern that has the id `name` and is about the student `student_id`.

    Raises `Invalid` at `/concerns/<place>` if there is none.
    """
    pointer = f"/concerns/{place}"
    concern = await work.db.scalar(
        select(Concern).where(
            Concern.district_id == work.district_id,
            Concern.id == ids.parse_id("concern", name, pointer),
            Concern.student_id == student_id,
        )
    )
    if concern is None:
        raise Invalid([Violation(pointer, "concern.unknown", "There is no such concern about this student.")])
    if concern.state != "accepted":
        raise Invalid([Violation(pointer, "concern.state", "A support answers concerns that are accepted.")])
    return concern

"""Owns how commands find a support, its phases and its dosage. Opens nothing itself: the caller's permission holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, TIMESTAMP, Date, cast, func, literal_column, select, true

from app.access.work import Work
from app.core.db import lateral_lookup
from app.core.errors import NotFound
from app.playbook.lookup import level_by_id
from app.roster.calendar import off_between, weeks_of_schools
from app.roster.lookup import IdList
from app.roster.student_lock import lock_student_of
from app.support.dosage import DeliveredSessions, Dosage, dosage
from app.support.models import Phase, Session, Support


async def lock_support(work: Work, support_id: UUID) -> Support:
    """The support, its student locked until the commit, for a command of this room or of one above."""
    support = await lock_student_of(work, Support, Support.id, support_id)
    if support is None:
        raise NotFound("support")
    work.disclose("support", [support.student_id])
    return support


async def current_phase(work: Work, support: Support) -> Phase:
    """The phase that is running, or the last one."""
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
    """The rank of the support's present level."""
    return (await level_by_id(work, support.level_id)).rank


@dataclass(frozen=True, slots=True)
class DosageWindow:
    """The days of a phase over which dosage is asked for, both included; what lies outside the phase is left out."""

    support: Support
    phase: Phase
    since: date
    until: date

    @property
    def first(self) -> date:
        """The first day that counts."""
        return max(self.since, self.phase.begins_on)

    @property
    def last(self) -> date:
        """The last day that counts; the day on which a phase ends belongs to the next, where one follows."""
        ends_on = self.phase.ends_on
        if ends_on is None:
            return self.until
        return min(self.until, ends_on if ends_on == self.support.ends_on else ends_on - timedelta(days=1))


Calendar = Sequence[tuple[date, bool]]
"""A school's weeks in order: the Monday, and whether there was instruction."""


async def dosages_of(
    work: Work, windows: Sequence[DosageWindow], known: Mapping[UUID, Calendar] | None = None
) -> list[Dosage]:
    """Returns the dosage of each window, in order, by one statement for the sessions and one for the calendar.

    Nothing is written to the disclosure log.

    known: by school, the weeks of all that time, where they were read already. Each window knows of its own time
    only, whoever else is asked for.
    """
    if not windows:
        return []
    delivered = await _delivered(work, windows)
    if known is None:
        schools = {school for one in windows for school in one.support.school_ids}
        first, last = min(one.first for one in windows), max(one.last for one in windows)
        known = await weeks_of_schools(work, schools, first, last)
    off: dict[tuple[UUID, date, date], frozenset[date] | None] = {}
    found = []
    for one, of_weeks in zip(windows, delivered, strict=True):
        asked = [(school, one.first, one.last) for school in one.support.school_ids]
        off |= {key: off_between(known.get(key[0], ()), *key[1:]) for key in asked if key not in off}
        phase = one.phase
        found.append(
            dosage(
                one.first,
                one.last,
                next((weeks for key in asked if (weeks := off[key]) is not None), frozenset()),
                of_weeks,
                minutes_per_session=phase.minutes_per_session,
                sessions_per_week=phase.sessions_per_week,
            )
        )
    return found


async def _delivered(work: Work, windows: Sequence[DosageWindow]) -> list[list[DeliveredSessions]]:
    """The sessions of each window, summed by week and reason where they lie."""
    asked = (
        func.unnest(
            cast([one.support.id for one in windows], IdList),
            cast([one.first for one in windows], ARRAY(Date)),
            cast([one.last for one in windows], ARRAY(Date)),
        )
        .table_valued("support_id", "since", "until", with_ordinality="place", name="asked")
        .render_derived()
    )
    held = lateral_lookup(
        select(Session.held_on, Session.planned_minutes, Session.delivered_minutes, Session.lost_because).where(
            Session.district_id == work.district_id,
            Session.support_id == asked.c.support_id,
            Session.held_on >= asked.c.since,
            Session.held_on <= asked.c.until,
            Session.removed_at.is_(None),
        ),
        "held",
    )
    # As a timestamp without a zone: a date has none, and must not get the server's.
    monday = cast(func.date_trunc(literal_column("'week'"), cast(held.c.held_on, TIMESTAMP)), Date)
    rows = await work.db.execute(
        select(
            asked.c.place,
            monday,
            func.count().filter(held.c.planned_minutes > literal_column("0")),
            func.count().filter(held.c.delivered_minutes > literal_column("0")),
            func.sum(held.c.planned_minutes),
            func.sum(held.c.delivered_minutes),
            func.sum(func.greatest(held.c.planned_minutes - held.c.delivered_minutes, literal_column("0"))),
            held.c.lost_because,
        )
        .join_from(asked, held, true())
        .group_by(asked.c.place, monday, held.c.lost_because)
    )
    found: list[list[DeliveredSessions]] = [[] for _ in windows]
    for place, *of_week in rows:
        found[place - 1].append(DeliveredSessions(*of_week))
    return found

"""Hands over one support, or all supports of a person at once, to another lead or provider. Begins no new phase."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import any_, cast, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import SUPPORT_HANDED_OVER
from app.events.outbox import record
from app.roster.lookup import IdList, locate_present_staff, locate_staff, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.support.lookup import lock_support
from app.support.models import Handover, Support
from app.support.phase import student_columns, support_event
from app.team.caseload import reassign

People = tuple[UUID | None, UUID | None]
"""The lead and the provider of a support or a group."""

REASON = About("The reason.", "Ms. Lopez has moved to another school.")
DAY = About("The day of the handover, which is not in the future; by default, today.", date(2026, 11, 30))


@dataclass(frozen=True, slots=True)
class NewHandover:
    """The input of a handover of one support or one group. A lead or provider who is not given stays the same."""

    because: Annotated[str, Text(min=1, max=4000), REASON]
    lead: Annotated[
        str | None,
        About("Who leads from now on: an id, or `sis:<source>:<sourcedId>`.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb"),
    ] = None
    provider: Annotated[
        str | None,
        About("Who provides it from now on: an id, or `sis:<source>:<sourcedId>`.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb"),
    ] = None
    on: Annotated[date | None, DAY] = None


@dataclass(frozen=True, slots=True)
class NewHandovers:
    """The input of `hand_over_supports`. `giver` may have left the roster; `taker` must be on it."""

    giver: Annotated[
        str,
        About(
            "The person who leads or provides the supports: an id, or `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ]
    taker: Annotated[
        str,
        About(
            "The person who takes them over: an id, or `sis:<source>:<sourcedId>`.", "per_01jq4n6d9zf3vbs0x5k2m7e8td"
        ),
    ]
    because: Annotated[str, Text(min=1, max=4000), REASON]
    on: Annotated[date | None, DAY] = None


@dataclass(frozen=True, slots=True)
class GiverAndTaker:
    """The people of a handover of all supports, and the number of supports that were handed over."""

    giver_id: UUID
    taker_id: UUID
    supports: int


@needs(Can.PLAN_SUPPORT)
async def hand_over_support(work: Work, support_id: UUID, new: NewHandover) -> Support:
    """Gives a support another lead, another provider, or both. The student moves to the caseloads of the new people."""
    support = await lock_support(work, support_id)
    if support.state == "ended":
        raise Conflict("This support has ended.", code="support.ended")
    people, day = await validate_handover(work, new, (support.lead_id, support.provider_id))
    await save_handovers(work, {support.id: (support, people)}, new.because, day)
    return support


@needs(Can.PLAN_SUPPORT)
async def validate_handover(work: Work, new: NewHandover, before: People) -> tuple[People, date]:
    """Returns the lead and the provider after a handover, and the day of the handover. `before` has the present people.

    Raises `Invalid` with every violation of the input.
    """
    violations = Violations(input_violations(new))
    lead_id, provider_id = before
    with violations:
        if new.lead is None and new.provider is None:
            raise Invalid([Violation("/lead", "handover.nobody", "Name the new lead, the new provider, or both.")])
    with violations:
        if new.lead is not None:
            lead_id = (await locate_present_staff(work, new.lead, "/lead")).id
    with violations:
        if new.provider is not None:
            provider_id = (await locate_present_staff(work, new.provider, "/provider")).id
    with violations:
        day = await _day_of(work, new.on)
    violations.refuse()
    return (lead_id, provider_id), day


@needs(Can.PLAN_SUPPORT)
async def hand_over_supports(work: Work, new: NewHandovers) -> GiverAndTaker:
    """Hands over the supports of the giver to the taker: all supports that the giver leads or provides.

    Supports that have ended, and supports of students whom the caller may not see, are left out. Returns the two
    people, with the number of supports that were handed over.
    """
    violations = Violations(input_violations(new))
    people: dict[str, Person] = {}
    with violations:
        people["giver"] = await locate_staff(work, new.giver, "/giver")
    with violations:
        people["taker"] = await locate_present_staff(work, new.taker, "/taker")
    with violations:
        if len(people) == 2 and people["giver"].id == people["taker"].id:
            raise Invalid([Violation("/taker", "handover.same_person", "Name another person.")])
    with violations:
        day = await _day_of(work, new.on)
    violations.refuse()
    giver, taker = people["giver"], people["taker"]
    of_giver = (
        Support.district_id == work.district_id,
        Support.state != "ended",
        or_(Support.lead_id == giver.id, Support.provider_id == giver.id),
    )
    await lock_students(work, set(await work.db.scalars(select(Support.student_id).where(*of_giver))))
    rows = await work.db.scalars(
        select(Support)
        .where(*of_giver, Support.student_id == any_(cast(sorted(work.locked_students), IdList)))
        .order_by(Support.id)
        .execution_options(populate_existing=True)
    )
    supports = list(rows)
    people_after = {}
    for support in supports:
        lead_id, provider_id = (
            taker.id if person == giver.id else person for person in (support.lead_id, support.provider_id)
        )
        people_after[support.id] = (support, (lead_id, provider_id))
    await save_handovers(work, people_after, new.because, day)
    return GiverAndTaker(giver.id, taker.id, len(supports))


@needs(Can.PLAN_SUPPORT)
async def save_handovers(work: Work, supports: Mapping[UUID, tuple[Support, People]], because: str, day: date) -> None:
    """Sets the lead and the provider of these supports, whose students are locked, and records the handovers.

    `supports` has each support with the people who lead and provide it from now on. Executes four statements for any
    number of supports.
    """
    created_at, rows = now(), []
    for support, (lead_id, provider_id) in supports.values():
        row = Handover(
            **student_columns(support),
            id=new_id(),
            support_id=support.id,
            handed_over_on=day,
            lead_before=support.lead_id,
            lead_id=lead_id,
            provider_before=support.provider_id,
            provider_id=provider_id,
            because=because,
            made_by=work.principal.person_id,
            made_by_client=work.principal.client_id,
            created_at=created_at,
        )
        rows.append(row)
        if lead_id != support.lead_id:
            support.unled_since = None
        support.lead_id, support.provider_id = lead_id, provider_id
        support.version += 1
    work.db.add_all(rows)
    await work.db.flush()
    await reassign(
        work,
        [
            (support.id, support.student_id, support.school_ids, via, person_id)
            for support, _ in supports.values()
            for via, person_id in (("lead", support.lead_id), ("provider", support.provider_id))
        ],
    )
    work.disclose("support", (support.student_id for support, _ in supports.values()))
    for support, _ in supports.values():
        record(work, support_event(SUPPORT_HANDED_OVER, support))


async def _day_of(work: Work, on: date | None) -> date:
    today = await today_of(work)
    if on is not None and on > today:
        raise Invalid([Violation("/on", "handover.in_the_future", "A handover is recorded on its day or later.")])
    return on or today

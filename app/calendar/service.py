"""Creates calendar links and revokes them. The secret of a link is returned once, and only its digest is stored."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, cast, select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.calendar.models import CalendarLink
from app.calendar.rules import LONGEST, RevokedBecause, generate_secret, read_secret, violations_of_end
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Misuse, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, FromProcess
from app.core.violations import Violations, input_violations
from app.events.catalogue import CALENDAR_LINK_CREATED, CALENDAR_LINK_REVOKED, EventType, NewEvent
from app.events.outbox import record
from app.events.reminders import AT_ONCE
from app.meeting.lookup import ARCHIVED
from app.roster.lookup import IdList, today_of
from app.roster.models import Person
from app.team.lookup import find_active_team

BaseUrl = Annotated[str, FromProcess("base_url")]
NO_PERSON: Final = "Name a team, or send the request for a person, whose teams the calendar then has."


@dataclass(frozen=True, slots=True)
class NewCalendarLink:
    """A calendar link to be created."""

    team: Annotated[
        str | None,
        About(
            "The team whose meetings it opens. Without it, those of all teams of the person that the request acts for.",
            "tea_01jq4n6d9zf3vbs0x5k2m7e8th",
        ),
    ] = None
    until_on: Annotated[
        date | None,
        About(
            f"The first day on which it no longer opens anything: by default and at most {LONGEST.days} days ahead.",
            date(2027, 7, 1),
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class CreatedLink:
    """A new link with its secret, and the address that contains the secret."""

    row: CalendarLink
    secret: str
    url: str


@needs(Can.LINK_CALENDARS, Can.READ_MEETINGS)
async def create_calendar_link(work: Work, new: NewCalendarLink, base_url: BaseUrl) -> CreatedLink:
    """Creates a link to the meetings of a team, or of all teams of a person, and returns it with its address.

    The person is the one that the client sends the request for. Raises `Invalid` if the caller may not see the team, if
    there is neither a team nor such a person, or if `until_on` is out of range.
    """
    violations, today = Violations(input_violations(new)), await today_of(work)
    until_on, team_id = today + LONGEST, None
    with violations:
        until_on = new.until_on or until_on
        violations.add(violations_of_end(until_on, today))
    with violations:
        if new.team is not None:
            team_id = (await find_active_team(work, new.team, ARCHIVED)).id
        elif work.principal.person_id is None:
            raise Invalid([Violation("/team", "calendar_link.no_person", NO_PERSON)])
    violations.refuse()
    if work.principal.client_id is None:
        raise Misuse("A calendar link was created by no client.")
    secret = generate_secret(work.district_id)
    link = CalendarLink(
        district_id=work.district_id,
        id=new_id(),
        digest=read_secret(secret).digest,
        team_id=team_id,
        person_id=work.principal.person_id,
        created_by=work.principal.client_id,
        created_on=today,
        until_on=until_on,
        created_at=now(),
        version=1,
    )
    work.db.add(link)
    await work.db.flush()
    _emit(work, CALENDAR_LINK_CREATED, link)
    return CreatedLink(link, secret, f"{base_url.rstrip('/')}/calendar/{secret}.ics")


@needs(Can.LINK_CALENDARS)
async def revoke_calendar_link(work: Work, calendar_link_id: UUID) -> CalendarLink:
    """Revokes a link of the caller; raises `NotFound` for any other link, and `Conflict` if it is already revoked."""
    principal = work.principal
    own = [CalendarLink.created_by == principal.client_id]
    if principal.person_id is not None:
        own.append(CalendarLink.person_id == principal.person_id)
    link = await work.db.scalar(
        select(CalendarLink)
        .where(CalendarLink.district_id == work.district_id, CalendarLink.id == calendar_link_id, *own)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if link is None:
        raise NotFound("calendar_link")
    if link.revoked_at is not None:
        raise Conflict("The link is revoked already.", code="calendar_link.revoked")
    link.revoked_at, link.revoked_because = now(), RevokedBecause.REQUESTED
    link.version += 1
    await work.db.flush()
    _emit(work, CALENDAR_LINK_REVOKED, link)
    return link


@needs(Can.OPERATE)
async def revoke_links_of_client(work: Work, client_id: UUID) -> int:
    """Revokes every link that a client has created in this district, and returns their number."""
    return await _revoke(work, CalendarLink.created_by == client_id, RevokedBecause.CLIENT_REVOKED)


@needs(Can.JUDGE)
async def revoke_links_of_departed(work: Work) -> int:
    """Revokes links of people who have left the roster, at most `AT_ONCE`, and returns their number.

    Such a link already opens nothing. This function marks the link as revoked and emits an event.
    """
    departed = (
        select(CalendarLink.id)
        .join(Person, and_(Person.district_id == work.district_id, Person.id == CalendarLink.person_id))
        .where(
            CalendarLink.district_id == work.district_id,
            CalendarLink.revoked_at.is_(None),
            Person.removed_at.is_not(None),
        )
        .order_by(CalendarLink.id)
        .limit(AT_ONCE)
    )
    link_ids = list(await work.db.scalars(departed))
    if not link_ids:
        return 0
    return await _revoke(work, CalendarLink.id == any_(cast(link_ids, IdList)), RevokedBecause.PERSON_LEFT)


async def _revoke(work: Work, condition: ColumnElement[bool], because: RevokedBecause) -> int:
    values: dict[str, Any] = {"revoked_at": now(), "revoked_because": str(because)}
    links = await work.db.scalars(
        update(CalendarLink)
        .where(CalendarLink.district_id == work.district_id, CalendarLink.revoked_at.is_(None), condition)
        .values(version=CalendarLink.version + 1, **values)
        .returning(CalendarLink)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    revoked = sorted(links, key=lambda link: link.id)
    for link in revoked:
        _emit(work, CALENDAR_LINK_REVOKED, link)
    return len(revoked)


def _emit(work: Work, type_: EventType, link: CalendarLink) -> None:
    record(work, NewEvent(type_, link.id, link.version, {}))

"""Declares the public shape of calendar links, with the commands that create and revoke them."""

from datetime import date, datetime
from operator import attrgetter

from sqlalchemy import and_, or_

from app.access.permission import Can
from app.calendar import service
from app.calendar.models import CalendarLink
from app.calendar.rules import RevokedBecause
from app.events.catalogue import CALENDAR_LINK_CREATED, CALENDAR_LINK_REVOKED
from app.meeting.resource import by_row
from app.resources.command import Command
from app.resources.declare import Resource
from app.resources.fields import choice, field, one, reference
from app.resources.listing import Flag, Listing
from app.resources.members import Id, One
from app.resources.terms import CLIENT, PERSON
from app.resources.values import Value, item
from app.roster.resource import StaffResource


class CalendarLinkResource(
    Resource[CalendarLink],
    kind="calendar_link",
    requires=Can.LINK_CALENDARS,
    visible=and_(
        CalendarLink.created_by == CLIENT,
        or_(PERSON.is_(None), CalendarLink.person_id == PERSON),
    ),
    name="CalendarLink",
    get="calendar_link",
    node=False,
):
    """A link by which a calendar program reads the meetings of a team, or of all teams of a person.

    A client sees only the links that it has created. A request for a person sees only that person's links.
    """

    team_id: Id | None = reference(
        CalendarLink.team_id,
        "team",
        "The team; null for the meetings of all teams of the person.",
        rest="team",
    )
    person: One[StaffResource] | None = one(
        CalendarLink.person_id, StaffResource, "The person that it was created for, if there is one."
    )
    created_on: date = field(CalendarLink.created_on, "The day on which it was created.")
    until_on: date = field(CalendarLink.until_on, "The first day on which it no longer opens anything.")
    revoked_at: datetime | None = field(CalendarLink.revoked_at, "When it was revoked.")
    revoked_because: RevokedBecause | None = choice(CalendarLink.revoked_because, "Why it was revoked.")
    version: int = field(CalendarLink.version, "The number of changes; the ETag.", 1)


class CalendarSecretValue(Value):
    """The secret of a new calendar link, which is shown only once."""

    secret: str = item(
        "The secret, which opens the calendar without a token.",
        "01jq4n6d9zf3vbs0x5k2m7e8tg.4rM5cYw2kqT0bQx8uJ6nZ1hV9sLdPfGa3eXoRiBtCyE",
        get=attrgetter("secret"),
    )
    url: str = item(
        "The address to which a calendar program subscribes. It contains the secret.",
        "https://aimline.example.org/calendar/"
        "01jq4n6d9zf3vbs0x5k2m7e8tg.4rM5cYw2kqT0bQx8uJ6nZ1hV9sLdPfGa3eXoRiBtCyE.ics",
        get=attrgetter("url"),
    )


LISTINGS = (
    Listing(
        "calendar_links",
        CalendarLinkResource,
        "The caller's calendar links, oldest first.",
        filters=(by_row("team", CalendarLink.team_id, "Only links to the meetings of this team."),),
        flags=(
            Flag(
                "revoked",
                "Only links that are revoked, or with false, those that are not.",
                on=CalendarLink.revoked_at.is_not(None),
                off=CalendarLink.revoked_at.is_(None),
            ),
        ),
        changed_at=CalendarLink.updated_at,
    ),
)

COMMANDS = (
    Command(
        "create_calendar_link",
        service.create_calendar_link,
        CalendarLinkResource,
        "Creates a link by which a calendar program reads when a team meets, and returns its secret, only once. The "
        "calendar has no name of a student or of staff, and no text that somebody has typed.",
        "POST /calendar-links",
        emits=(CALENDAR_LINK_CREATED,),
        status=201,
        row=attrgetter("row"),
        value=CalendarSecretValue,
        answer="NewlyMadeCalendarLink",
    ),
    Command(
        "revoke_calendar_link",
        service.revoke_calendar_link,
        CalendarLinkResource,
        "Revokes an own calendar link. Its address no longer opens anything.",
        "POST /calendar-links/{calendar_link}/revoke",
        emits=(CALENDAR_LINK_REVOKED,),
    ),
)

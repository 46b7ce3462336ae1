"""Declares the public shape of action items: the resource, its list, its links and its commands."""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import and_

from app.access.permission import Can
from app.access.work import Work
from app.action import service
from app.action.models import ActionItem
from app.action.rules import ActionState
from app.core import ids
from app.core.errors import Forbidden, Invalid, NotFound
from app.events.catalogue import ACTION_ITEM_AGREED, ACTION_ITEM_CLOSED, ACTION_ITEM_REASSIGNED
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, reference
from app.resources.listing import Filter, Listing, Sort
from app.resources.members import Id, One
from app.roster.filters import by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.team.models import Team
from app.team.resource import TeamResource


class ActionItemResource(
    Resource[ActionItem],
    kind="action_item",
    requires=Can.READ_ACTIONS,
    about=ActionItem.student_id,
    name="ActionItem",
    get="action_item",
):
    """What a member of a team does by a day. It comes back on the team's agenda until it has an outcome."""

    team_id: Id = reference(ActionItem.team_id, "team", "The team that agreed it.", rest="team")
    student: One[StudentResource] | None = one(
        ActionItem.student_id, StudentResource, "The student that it is about, if it is about one."
    )
    text: str = field(ActionItem.text, "What is to be done.", "Call the family about the new plan.")
    owner: One[StaffResource] = one(ActionItem.owner_id, StaffResource, "The person who does it.")
    due_on: date = field(ActionItem.due_on, "The day by which it is to be done.")
    state: ActionState = choice(ActionItem.state, "The state of the action item; the last three are outcomes.")
    agenda_item_id: Id | None = reference(
        ActionItem.agenda_item_id, "agenda_item", "The item of an agenda at which it was agreed.", rest="agenda_item"
    )
    agreed_by: One[StaffResource] | None = one(
        ActionItem.agreed_by, StaffResource, "The person who recorded it, if a person did."
    )
    agreed_on: date = field(ActionItem.agreed_on, "The day on which it was agreed.")
    closed_by: One[StaffResource] | None = one(
        ActionItem.closed_by, StaffResource, "The person who recorded the outcome, if a person did."
    )
    closed_on: date | None = field(ActionItem.closed_on, "The day on which the outcome was recorded.")
    closed_because: str | None = field(
        ActionItem.closed_because, "Why it was not done, or dropped.", "The family has moved."
    )
    version: int = field(ActionItem.version, "The number of changes; the ETag.", 1)


async def _team_id(work: Work, text: str, pointer: str | None) -> UUID:
    """Returns the UUID in a team's public id."""
    try:
        return ids.parse_id("team", text, pointer or "")
    except Invalid:
        if pointer is None:
            raise NotFound("team") from None
        raise


async def _acting_person(work: Work, mine: Any, _: str | None) -> UUID | None:
    """Returns the person whose action items a list with `mine=true` shows: the person that the request acts for.

    Returns None for `mine=false`, because the list then shows the items of all owners. Raises `Forbidden` for
    `mine=true` if the request acts for nobody.
    """
    if not mine:
        return None
    if work.principal.person_id is None:
        detail = "`mine` lists the items of the person that the request acts for, and this request acts for nobody."
        raise Forbidden(detail, code="action_item.no_person")
    return work.principal.person_id


LINKS = (
    Link(
        TeamResource,
        "action_items",
        ActionItemResource,
        ActionItem.team_id == Team.id,
        "What it has agreed, oldest first.",
        order=(ActionItem.id,),
        paged=True,
    ),
    Link(
        StudentResource,
        "action_items",
        ActionItemResource,
        ActionItem.student_id == Person.id,
        "What teams have agreed about the student, oldest first.",
        order=(ActionItem.id,),
    ),
)

LISTINGS = (
    Listing(
        "action_items",
        ActionItemResource,
        "Action items in the order in which they were agreed. Only the caller's own can be listed by owner (`mine`).",
        filters=(
            Filter(
                "team",
                str,
                lambda team_id: ActionItem.team_id == team_id,
                "Only what this team agreed.",
                "tea_01jq4n6d9zf3vbs0x5k2m7e8th",
                graphql="team_id",
                resolve=_team_id,
                bound=UUID,
                narrow=True,
            ),
            by_student(ActionItem.student_id),
            Filter(
                "mine",
                bool,
                lambda person_id: ActionItem.owner_id == person_id,
                "Only those of the person that the request acts for, which it requires.",
                True,
                resolve=_acting_person,
                bound=UUID,
                narrow=True,
            ),
            Filter(
                "state",
                ActionState,
                lambda state: ActionItem.state == state,
                "Only action items in this state.",
                ActionState.OPEN,
            ),
            Filter(
                "due_by",
                date,
                lambda day: and_(ActionItem.due_on <= day, ActionItem.state == ActionState.OPEN),
                "Only open ones that are due on this day or before.",
                date(2026, 10, 6),
            ),
        ),
        sorts=(Sort("due", (ActionItem.due_on, ActionItem.id), "By the day by which they are to be done."),),
        changed_at=ActionItem.updated_at,
    ),
)

COMMANDS = (
    Command(
        "agree_action_item",
        service.agree_action_item,
        ActionItemResource,
        "Creates an action item: something that a member of the team agreed to do by a day.",
        "POST /action-items",
        emits=(ACTION_ITEM_AGREED,),
        status=201,
        bulk=service.MAX_AT_ONCE,
        items="action_items",
    ),
    Command(
        "reassign_action_item",
        service.reassign_action_item,
        ActionItemResource,
        "Gives an open action item to another member of the team, or to the same one with another day.",
        "POST /action-items/{action_item}/reassign",
        emits=(ACTION_ITEM_REASSIGNED,),
        body=Body("ActionItemReassignment", "Who does it, and by when."),
    ),
    Command(
        "close_action_item",
        service.close_action_item,
        ActionItemResource,
        "Closes an action item as done, not done or dropped; the last two with a reason.",
        "POST /action-items/{action_item}/close",
        emits=(ACTION_ITEM_CLOSED,),
        body=Body("ActionItemClosing", "What became of an action item."),
    ),
)

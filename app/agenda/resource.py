"""Declares the public shape of agenda items, with the commands on them and on open meetings."""

from datetime import date, datetime

from app.access.permission import Can
from app.action.models import ActionItem
from app.action.resource import ActionItemResource
from app.agenda import conduct, items
from app.agenda.models import AgendaItem
from app.agenda.rules import SUBJECTS, AgendaItemKind, AgendaItemState, SuspendedBecause
from app.decision.resource import DecisionResource
from app.events.catalogue import (
    ACTION_ITEM_AGREED,
    AGENDA_ITEM_ADDED,
    AGENDA_ITEM_SETTLED,
    AGENDA_NOTE_WRITTEN,
    MEETING_CLOSED,
    MEETING_OPENED,
    PLAYBOOK_PUBLISHED,
)
from app.meeting.models import Meeting
from app.meeting.resource import MeetingResource, by_row
from app.note.models import Note
from app.note.resource import NoteResource
from app.playbook.resource import AreaResource
from app.playbook.structure.resource import PlaybookVersionResource
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, reference, reference_of, stored
from app.resources.listing import Filter, Listing
from app.resources.members import Id, One
from app.resources.values import Value, item
from app.roster.filters import by_student
from app.roster.resource import StaffResource, StudentResource
from app.team.resource import TeamResource


class AgendaReasonValue(Value):
    """Why an item is on the agenda."""

    code: str = item("The code of the reason.", "not_responding")
    records: list[str] = item("The ids of the records on which the reason rests.", ["ver_01jq4n6d9zf3vbs0x5k2m7e8tg"])


class AgendaItemResource(
    Resource[AgendaItem],
    kind="agenda_item",
    requires=Can.READ_MEETINGS,
    about=AgendaItem.student_id,
    name="AgendaItem",
    get="agenda_item",
):
    """An item of the agenda of a meeting that was opened, or one that a member has added for the next meeting."""

    team: One[TeamResource] = one(AgendaItem.team_id, TeamResource, "The team.")
    meeting: One[MeetingResource] | None = one(
        AgendaItem.meeting_id, MeetingResource, "The meeting; null until it is opened."
    )
    student: One[StudentResource] | None = one(
        AgendaItem.student_id, StudentResource, "The student that it is about, if it is about one."
    )
    area: One[AreaResource] | None = one(
        AgendaItem.area_id, AreaResource, "The area that a member named with the item, if one did."
    )
    kind: AgendaItemKind = choice(AgendaItem.kind, "Why it is on the agenda.")
    subject_id: Id | None = reference_of(
        AgendaItem.subject_id,
        AgendaItem.subject_kind,
        SUBJECTS,
        "The record that it is about; of an item that a member added, the first such item.",
        rest="subject",
    )
    since: date = field(AgendaItem.since, "The day since which there is a reason.")
    reasons: list[AgendaReasonValue] = stored(AgendaItem.reasons, "Why it is on the agenda.")
    rank: int = field(AgendaItem.rank, "The place of its kind in the order of the playbook.", 1)
    state: AgendaItemState = choice(AgendaItem.state, "The state of the item.")
    text: str | None = field(AgendaItem.text, "The topic that a member wants to discuss.", "Who calls the families?")
    minutes: str | None = field(AgendaItem.minutes, "What was noted.", "She reads to her brother every evening.")
    decision: One[DecisionResource] | None = one(
        AgendaItem.decision_id, DecisionResource, "The decision that was made from it."
    )
    dropped_because: str | None = field(AgendaItem.dropped_because, "Why it was dropped.", "The family has moved away.")
    carried_from: Id | None = reference(
        AgendaItem.carried_from, "agenda_item", "The carried item of a former meeting that it follows."
    )
    times_carried: int = field(AgendaItem.times_carried, "How often it was carried before.", 0)
    suspended_on: date | None = field(
        AgendaItem.suspended_on, "The day since which it is on no agenda, because the team does not serve the student."
    )
    suspended_because: SuspendedBecause | None = choice(AgendaItem.suspended_because, "Why the team does not do it.")
    added_by: One[StaffResource] | None = one(
        AgendaItem.added_by, StaffResource, "The member who added it, if a person did."
    )
    settled_by: One[StaffResource] | None = one(
        AgendaItem.settled_by, StaffResource, "The person who settled it, if a person did."
    )
    settled_at: datetime | None = field(AgendaItem.settled_at, "When it was discussed, carried or dropped.")
    version: int = field(AgendaItem.version, "The number of changes; the ETag.", 1)


LINKS = (
    Link(
        AgendaItemResource,
        "action_items",
        ActionItemResource,
        ActionItem.agenda_item_id == AgendaItem.id,
        "What was agreed at it, oldest first.",
        order=(ActionItem.id,),
    ),
    Link(
        AgendaItemResource,
        "notes",
        NoteResource,
        Note.about_id == AgendaItem.id,
        "The notes about it, oldest first.",
        order=(Note.id,),
    ),
    Link(
        MeetingResource,
        "items",
        AgendaItemResource,
        AgendaItem.meeting_id == Meeting.id,
        "The stored items of its agenda that the caller may see. The agenda of the team has them in their order.",
        order=(AgendaItem.id,),
    ),
)

LISTINGS = (
    Listing(
        "agenda_items",
        AgendaItemResource,
        "Items of agendas in the order in which they were stored.",
        filters=(
            by_student(AgendaItem.student_id),
            by_row("team", AgendaItem.team_id, "Only items of this team."),
            by_row("meeting", AgendaItem.meeting_id, "Only items of this meeting."),
            Filter(
                "state",
                AgendaItemState,
                lambda state: AgendaItem.state == state,
                "Only items in this state.",
                AgendaItemState.OPEN,
            ),
        ),
        changed_at=AgendaItem.updated_at,
    ),
)

COMMANDS = (
    Command(
        "open_meeting",
        conduct.open_meeting,
        MeetingResource,
        "Opens a meeting, and stores its agenda, with the items that the caller may not see.",
        "POST /meetings/{meeting}/open",
        emits=(MEETING_OPENED,),
        body=Body("MeetingOpening", "The people who are present."),
    ),
    Command(
        "close_meeting",
        conduct.close_meeting,
        MeetingResource,
        "Closes a meeting whose items are all settled. With `carry_rest`, the open ones are carried to the "
        "next meeting.",
        "POST /meetings/{meeting}/close",
        emits=(MEETING_CLOSED,),
        body=Body("MeetingClosing", "What is done with the items that are still open."),
    ),
    Command(
        "add_agenda_item",
        items.add_agenda_item,
        AgendaItemResource,
        "Adds an item to the agenda of the team's open meeting, or else of its next one.",
        "POST /agenda-items",
        emits=(AGENDA_ITEM_ADDED,),
        status=201,
    ),
    Command(
        "agree_at_agenda_item",
        items.agree_at_agenda_item,
        ActionItemResource,
        "Agrees what a member of the team does about an open item, about its student and in its secured area.",
        "POST /agenda-items/{agenda_item}/action-items",
        emits=(ACTION_ITEM_AGREED,),
        status=201,
    ),
    Command(
        "note_at_agenda_item",
        items.note_at_agenda_item,
        NoteResource,
        "Writes a note about an item, also after the item was settled or its meeting closed.",
        "POST /agenda-items/{agenda_item}/notes",
        emits=(AGENDA_NOTE_WRITTEN,),
        status=201,
        body=Body("AgendaItemNote", "A note about an item."),
    ),
    Command(
        "discuss_agenda_item",
        items.discuss_agenda_item,
        AgendaItemResource,
        "Settles an item as discussed, with minutes and the decision that was made from it.",
        "POST /agenda-items/{agenda_item}/discuss",
        emits=(AGENDA_ITEM_SETTLED,),
        body=Body("AgendaItemDiscussion", "What was noted and decided."),
    ),
    Command(
        "carry_agenda_item",
        items.carry_agenda_item,
        AgendaItemResource,
        "Carries an item to the next meeting, where it comes up if its reason still holds.",
        "POST /agenda-items/{agenda_item}/carry",
        emits=(AGENDA_ITEM_SETTLED,),
        body=Body("AgendaItemCarrying", "What was noted."),
    ),
    Command(
        "drop_agenda_item",
        items.drop_agenda_item,
        AgendaItemResource,
        "Drops an item, with a reason. It does not come up again on the same occasion.",
        "POST /agenda-items/{agenda_item}/drop",
        emits=(AGENDA_ITEM_SETTLED,),
        body=Body("AgendaItemDropping", "The reason for dropping an item."),
    ),
    Command(
        "order_agendas",
        items.order_agendas,
        PlaybookVersionResource,
        "Publishes the order in which agendas have their kinds of items. Open meetings keep their order.",
        "POST /agenda-order",
        emits=(PLAYBOOK_PUBLISHED,),
        body=Body("AgendaOrder", "The kinds of items in their order."),
    ),
)

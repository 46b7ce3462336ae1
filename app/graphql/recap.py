"""Defines the query for the recap of a closed meeting."""

import datetime

import strawberry

from app.action.rules import ActionState
from app.agenda.pages.recap import NamedPerson, RecapAction, RecapItem, read_recap
from app.agenda.rules import AgendaItemKind, AgendaItemState
from app.core import ids
from app.core.errors import NotFound
from app.decision.rules import DecisionKind
from app.graphql.agenda import AgendaEntryReason, NamesOfSubject, names_of_subject
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.graphql.types import enum_of

for _choices in (ActionState, AgendaItemKind, AgendaItemState, DecisionKind):
    enum_of(_choices)


@strawberry.type(name="RecapPerson", description="A person on a recap.")
class ShownRecapPerson:
    """A person that the recap of a meeting names."""

    id: strawberry.ID
    name: str | None = strawberry.field(description="Null for callers who may not read the roster.")

    @classmethod
    def of(cls, kind: str, person: NamedPerson) -> "ShownRecapPerson":
        """Returns the GraphQL object for a person, with the public id."""
        return cls(id=strawberry.ID(ids.format_id(kind, person.person_id)), name=person.name)


@strawberry.type(name="RecapDecision", description="A decision that was made from an item.")
class ShownRecapDecision:
    """A decision that was made at an item of the meeting."""

    id: strawberry.ID
    kind: DecisionKind
    decided_on: datetime.date
    note: str | None


@strawberry.type(name="RecapEntry", description="An item of a meeting, and what became of it.")
class ShownRecapEntry(NamesOfSubject):
    """An item of a meeting, and what became of it."""

    item_id: strawberry.ID
    kind: AgendaItemKind = strawberry.field(description="Why it was on the agenda.")
    state: AgendaItemState = strawberry.field(description="What became of it.")
    subject_id: strawberry.ID = strawberry.field(description="The id of the record that it is about.")
    student: ShownRecapPerson | None = strawberry.field(description="The student that it is about, if it is about one.")
    since: datetime.date = strawberry.field(description="The day since which there was a reason.")
    reasons: list[AgendaEntryReason]
    text: str | None = strawberry.field(description="The topic that a member wanted to discuss.")
    minutes: str | None = strawberry.field(description="What was noted.")
    dropped_because: str | None
    decision: ShownRecapDecision | None = strawberry.field(description="The decision that was made from it.")

    @classmethod
    def of(cls, item: RecapItem) -> "ShownRecapEntry":
        """Returns the GraphQL object for an item, with public ids."""
        decision = item.decision
        return cls(
            item_id=strawberry.ID(ids.format_id("agenda_item", item.item_id)),
            kind=AgendaItemKind(item.kind),
            state=AgendaItemState(item.state),
            subject_id=strawberry.ID(ids.format_id(item.subject_kind, item.subject_id)),
            student=None if item.student is None else ShownRecapPerson.of("student", item.student),
            **names_of_subject(item.names),
            since=item.since,
            reasons=[AgendaEntryReason.of(reason) for reason in item.reasons],
            text=item.text,
            minutes=item.minutes,
            dropped_because=item.dropped_because,
            decision=None
            if decision is None
            else ShownRecapDecision(
                id=strawberry.ID(ids.format_id("decision", decision.decision_id)),
                kind=DecisionKind(decision.kind),
                decided_on=decision.decided_on,
                note=decision.note,
            ),
        )


@strawberry.type(name="RecapActionItem", description="What somebody does by a day, agreed at an item of the meeting.")
class ShownRecapActionItem:
    """An action item that was agreed at the meeting."""

    id: strawberry.ID
    item_id: strawberry.ID = strawberry.field(description="The id of the item at which it was agreed.")
    text: str = strawberry.field(description="What is to be done.")
    student: ShownRecapPerson | None = strawberry.field(description="The student that it is about, if it is about one.")
    owner: ShownRecapPerson = strawberry.field(description="The person who does it.")
    due_on: datetime.date
    state: ActionState

    @classmethod
    def of(cls, action: RecapAction) -> "ShownRecapActionItem":
        """Returns the GraphQL object for an action item, with public ids."""
        return cls(
            id=strawberry.ID(ids.format_id("action_item", action.action_item_id)),
            item_id=strawberry.ID(ids.format_id("agenda_item", action.item_id)),
            text=action.text,
            student=None if action.student is None else ShownRecapPerson.of("student", action.student),
            owner=ShownRecapPerson.of("person", action.owner),
            due_on=action.due_on,
            state=ActionState(action.state),
        )


@strawberry.type(name="Recap", description="What a meeting came to. Items that the caller may not see are counted.")
class ShownRecap:
    """The recap of a closed meeting: what became of each item on the agenda."""

    meeting_id: strawberry.ID
    team_id: strawberry.ID
    team_name: str
    starts_at: datetime.datetime
    closed_at: datetime.datetime | None
    present: list[ShownRecapPerson] = strawberry.field(description="The people who were there.")
    discussed: list[ShownRecapEntry] = strawberry.field(description="What was discussed, in the order of the agenda.")
    carried: list[ShownRecapEntry] = strawberry.field(description="What was carried to the next meeting.")
    dropped: list[ShownRecapEntry] = strawberry.field(description="What was dropped, with the reason.")
    suspended: list[ShownRecapEntry] = strawberry.field(
        description="What was set aside, because the team did not serve the student any more."
    )
    action_items: list[ShownRecapActionItem] = strawberry.field(description="Who does what by when, by the day.")
    hidden: int = strawberry.field(description="The number of items that the caller may not see.")


@strawberry.type
class RecapQueries:
    """The query for the recap of a meeting."""

    @guarded_field(
        "What a closed meeting came to: what was discussed, carried and dropped, and who does what by when.",
        read_recap,
    )
    async def recap(self, info: Info, meeting_id: strawberry.ID) -> ShownRecap | None:
        row_id = parse_id("meeting", meeting_id)
        if row_id is None:
            raise NotFound("meeting")
        recap = await info.context.read(read_recap, row_id)
        row = recap.meeting

        def entries(state: AgendaItemState) -> list[ShownRecapEntry]:
            return [ShownRecapEntry.of(item) for item in recap.of_state(state)]

        return ShownRecap(
            meeting_id=strawberry.ID(ids.format_id("meeting", row.id)),
            team_id=strawberry.ID(ids.format_id("team", row.team_id)),
            team_name=recap.team_name,
            starts_at=row.starts_at,
            closed_at=row.closed_at,
            present=[ShownRecapPerson.of("person", person) for person in recap.present],
            discussed=entries(AgendaItemState.DISCUSSED),
            carried=entries(AgendaItemState.CARRIED),
            dropped=entries(AgendaItemState.DROPPED),
            suspended=entries(AgendaItemState.SUSPENDED),
            action_items=[ShownRecapActionItem.of(action) for action in recap.action_items],
            hidden=recap.hidden,
        )

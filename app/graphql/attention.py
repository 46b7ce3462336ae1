"""Defines the query that returns the tasks of the person that the client sends the request for."""

from datetime import date
from uuid import UUID

import strawberry

from app.attention.queries import AttentionItem, attention
from app.attention.rules import Reason
from app.core import ids
from app.core.page import keyset
from app.graphql.door import Info, guarded_field

strawberry.enum(Reason, name="AttentionReason", description="The reasons for which a person has a task.")


@strawberry.type(
    name="AttentionItem",
    description="A task for the acting person, with the ids of the records that it is about.",
)
class ShownAttentionItem:
    """A task for the person that the request is sent for, with the records that it is about."""

    reason: Reason
    since: date = strawberry.field(
        description="Since when: the day by which the action item is due, that of the last score, of the verdict, on "
        "which the concern was raised or lost its support, or since which the hypothesis is due for review."
    )
    student_id: strawberry.ID | None
    student_name: str | None = strawberry.field(
        description="The student's name; null for callers who may not read the roster."
    )
    area_name: str | None = strawberry.field(description="The area of the support or concern.")
    intervention: str | None = strawberry.field(description="What the support does.")
    measure_names: list[str] = strawberry.field(
        description="The measures by which the support is followed, the first one first."
    )
    action: str | None = strawberry.field(description="What is to be done, for an action item.")
    action_item_id: strawberry.ID | None
    support_id: strawberry.ID | None
    concern_id: strawberry.ID | None
    hypothesis_id: strawberry.ID | None

    @classmethod
    def of(cls, one: AttentionItem) -> "ShownAttentionItem":
        """Returns the GraphQL object for a task, with public ids."""
        return cls(
            reason=one.reason,
            since=one.since,
            student_id=_id("student", one.student_id),
            student_name=one.student_name,
            area_name=one.names.area,
            intervention=one.names.intervention,
            measure_names=list(one.names.measures),
            action=one.names.text,
            action_item_id=_id("action_item", one.action_item_id),
            support_id=_id("support", one.support_id),
            concern_id=_id("concern", one.concern_id),
            hypothesis_id=_id("hypothesis", one.hypothesis_id),
        )


@strawberry.type(name="Attention", description="The tasks for the acting person, the oldest first.")
class ShownAttention:
    """A page of the tasks for the person that the request is sent for."""

    person_id: strawberry.ID | None = strawberry.field(
        description="The person that the request acts for; null, and no needs, for nobody."
    )
    until: date = strawberry.field(description="The last day of which due action items are listed.")
    items: list[ShownAttentionItem]
    left_out: list[Reason] = strawberry.field(description="The reasons not listed, for lack of a permission.")
    end_cursor: str | None = strawberry.field(description="The cursor of the next page.")


@strawberry.type
class AttentionQueries:
    """The query for the tasks of the person that the request is sent for."""

    @guarded_field(
        "What needs something from the person that the request acts for, this week and with why. `until` is the last "
        "day of which due action items are listed; by default, six days from today.",
        attention,
    )
    async def attention(
        self, info: Info, until: date | None = None, first: int | None = None, after: str | None = None
    ) -> ShownAttention | None:
        work = info.context.work
        filters = {"until": until, "person": work.principal.person_id}
        page = keyset(work.district_id, "attention", filters, after, first, work.keyring)
        shown = await info.context.read(attention, until, page)
        return ShownAttention(
            person_id=_id("person", shown.person_id),
            until=shown.until,
            items=[ShownAttentionItem.of(one) for one in shown.items],
            left_out=shown.left_out,
            end_cursor=shown.next,
        )


def _id(kind: str, row_id: UUID | None) -> strawberry.ID | None:
    return None if row_id is None else strawberry.ID(ids.format_id(kind, row_id))

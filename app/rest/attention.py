"""Serves in REST the tasks of the person that the request is sent for."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from app.attention.queries import AttentionItem, attention
from app.core import ids
from app.core.page import keyset
from app.rest.door import After, Limit, OpenWork, requires
from app.rest.pages import Shape
from app.rest.route import Route
from app.rest.values import Day

router = APIRouter(prefix="/v1", tags=["me"], route_class=Route)
Reason = Literal[
    "action_due", "check_overdue", "concern_unanswered", "concern_unserved", "decision_due", "hypothesis_due"
]
Until = Annotated[
    Day | None, Query(description="The last day of which due action items are listed; by default, six days from today.")
]


class AttentionItemShape(Shape):
    """A task for the person that the request is sent for, with its reason.

    Only the ids and names of the records that the task is about are set; all others are null.
    """

    reason: Reason = Field(
        description="`action_due`: an own action item. `check_overdue`, `decision_due`: of a support that the person "
        "leads or provides. `concern_unanswered`, `concern_unserved`: about an own student, without an answer or "
        "without an active support. `hypothesis_due`: proposed by the person, or tested by such a support."
    )
    since: date = Field(
        description="Since when: the day by which the action item is due, that of the last score, of the verdict, on "
        "which the concern was raised or lost its support, or since which the hypothesis is due for review."
    )
    student: str | None = Field(description="The id of the student; null for an action item about nobody.")
    student_name: str | None = Field(description="The student's name; null for callers who may not read the roster.")
    area_name: str | None = Field(description="The area of the support or concern.")
    intervention: str | None = Field(description="What the support does.")
    measure_names: list[str] = Field(description="The measures by which the support is followed, the first one first.")
    action: str | None = Field(description="What is to be done, for an action item.")
    action_item: str | None = Field(description="The id of the action item.")
    support: str | None = Field(description="The id of the support.")
    concern: str | None = Field(description="The id of the concern.")
    hypothesis: str | None = Field(description="The id of the hypothesis.")


class AttentionShape(Shape):
    """The tasks for the person that the request is sent for, the oldest first."""

    person: str | None = Field(description="The person that the request acts for; null, and no tasks, for nobody.")
    until: date = Field(description="The last day of which due action items are listed.")
    items: list[AttentionItemShape] = Field(description="The tasks for the person.")
    left_out: list[Reason] = Field(description="The reasons that are not listed, for lack of a permission.")
    next: str | None = Field(description="The cursor of the next page.")


@router.get("/me/attention", operation_id="get_attention", **requires(attention))
async def get_attention(
    work: OpenWork, until: Until = None, after: After = None, limit: Limit = None
) -> AttentionShape:
    """Returns the tasks of this week for the person that the request is sent for, each with its reason.

    A client that acts for nobody has no tasks, and nobody can read another person's tasks.
    """
    person = work.principal.person_id
    filters = {"until": until, "person": person}
    page = keyset(work.district_id, "attention", filters, after, limit, work.keyring)
    shown = await attention(work, until, page)
    return AttentionShape.model_construct(
        person=_id("person", shown.person_id),
        until=shown.until,
        items=[_item(one) for one in shown.items],
        left_out=[reason.value for reason in shown.left_out],
        next=shown.next,
    )


def _item(one: AttentionItem) -> AttentionItemShape:
    return AttentionItemShape.model_construct(
        reason=one.reason.value,
        since=one.since,
        student=_id("student", one.student_id),
        student_name=one.student_name,
        area_name=one.names.area,
        intervention=one.names.intervention,
        measure_names=list(one.names.measures),
        action=one.names.text,
        action_item=_id("action_item", one.action_item_id),
        support=_id("support", one.support_id),
        concern=_id("concern", one.concern_id),
        hypothesis=_id("hypothesis", one.hypothesis_id),
    )


def _id(kind: str, row_id: UUID | None) -> str | None:
    return None if row_id is None else ids.format_id(kind, row_id)

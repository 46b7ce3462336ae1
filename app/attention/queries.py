"""Reads the tasks of the acting person, in one statement. The acting person is the person that the request acts for.

Nobody can read the tasks of another person.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Date,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    literal,
    null,
    or_,
    select,
    tuple_,
    union_all,
)

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.action.queries import are_due
from app.attention.names import NO_NAMES, SubjectNames, read_subject_names
from app.attention.own import own_students
from app.attention.parameters import DISTRICT_ID, PERSON_ID, SCORE_DAYS, TODAY, UNTIL
from app.attention.rules import A_WEEK, Reason
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.concern.unserved import IS_UNSERVED
from app.core.errors import Malformed, Violation
from app.core.page import Keyset
from app.decision.overdue import decision_due
from app.hypothesis.models import NOT_DUE, Hypothesis
from app.playbook.queries import reminder_days
from app.response.models import ResponseState
from app.response.upkeep.overdue import FIRST, FURTHER, checks_overdue, last_check
from app.roster.lookup import today_of
from app.roster.models import Person
from app.support.models import Support

KINDS: Final = ("action_item", "support", "concern", "hypothesis")
NAMED: Final = ("action_item", "support", "concern")
"""The kinds of records whose names a task can have, the first of them that it is about."""
AFTER: Final = (
    bindparam("after_since", type_=Date),
    bindparam("after_reason", type_=Text),
    bindparam("after_id", type_=Uuid),
)
"""The values of the sort columns in the row after which a page begins."""


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """A task for a person, with its reason and the ids of the records that it is about.

    `since` depends on the task:
    * an action item: the day on which it is due;
    * a support with an overdue score: the day of its last score;
    * a support with a due decision: the first day of its present state;
    * a concern: the day on which it was raised or lost its support;
    * a hypothesis: the first day on which its review was due.

    `names` has the names that a screen shows for the support of the task. If there is no support, they are those of the
    concern, or else of the action item. `student_name` is None if the caller may not read the roster.
    """

    reason: Reason
    since: date
    student_id: UUID | None
    action_item_id: UUID | None
    support_id: UUID | None
    concern_id: UUID | None
    hypothesis_id: UUID | None
    student_name: str | None = None
    names: SubjectNames = NO_NAMES


@dataclass(frozen=True, slots=True)
class Attention:
    """A page of the acting person's tasks. The acting person is the person that the request acts for.

    Each task has a reason. `left_out` lists the reasons whose tasks are left out because the caller lacks a permission.
    """

    person_id: UUID | None
    until: date
    items: list[AttentionItem]
    left_out: list[Reason]
    next: str | None


@needs(
    *(Can.READ_ACTIONS, Can.READ_CONCERNS, Can.READ_SUPPORTS),
    *(Can.READ_SCORES, Can.READ_VERDICTS, Can.READ_DECISIONS, Can.READ_PLAYBOOK),
)
async def attention(work: Work, until: date | None, keyset: Keyset) -> Attention:
    """Returns a page of the acting person's tasks, the oldest first.

    The acting person is the person that the request acts for.

    The tasks are:
    * the person's action items that are due by `until` (by default within a week);
    * supports that the person leads or provides, if a score or a decision is overdue;
    * concerns about the person's own students that nobody has answered, or that have no active support;
    * hypotheses whose review is due.

    A client that acts for nobody has no tasks.
    """
    person_id = work.principal.person_id
    today = await today_of(work)
    last = until or today + A_WEEK
    if person_id is None:
        return Attention(None, last, [], [], None)
    days = (await reminder_days(work))["score_overdue"]
    reads_hypotheses = work.principal.may(Can.READ_HYPOTHESES)
    left_out = [] if reads_hypotheses else [Reason.HYPOTHESIS_DUE]
    values = {"district_id": work.district_id, "person_id": person_id, "today": today, "until": last}
    values |= {"score_days": days, "limit": keyset.limit + 1, **_position(keyset)}
    values |= {"students": list(work.principal.students), "teams": list(work.principal.teams)}
    query = _build(work.principal.reach, days > 0, reads_hypotheses, keyset.after is not None)
    rows = (await work.db.execute(query, values)).all()
    page = keyset.cut(rows, lambda row: (str(row.since), row.reason, str(row.id)))
    for kind in KINDS:
        ids_of = f"{kind}_id"
        work.disclose(kind, {row.student_id for row in page.rows if getattr(row, ids_of) and row.student_id})
    subjects = [(kind, getattr(row, f"{kind}_id")) for row in page.rows for kind in ("student", *NAMED)]
    names = await read_subject_names(work, subjects)
    items = [
        AttentionItem(
            Reason(row.reason),
            row.since,
            row.student_id,
            row.action_item_id,
            row.support_id,
            row.concern_id,
            row.hypothesis_id,
            names.get(row.student_id, NO_NAMES).text,
            next((names[row_id] for kind in NAMED if (row_id := getattr(row, f"{kind}_id")) in names), NO_NAMES),
        )
        for row in page.rows
    ]
    return Attention(person_id, last, items, left_out, page.next)


def _position(keyset: Keyset) -> dict[str, Any]:
    """Returns the values of the parameters `AFTER` for a page: none if it is the first page.

    Raises `Malformed` for a cursor of another list.
    """
    if keyset.after is None:
        return {}
    try:
        since, reason, _ = keyset.after
        position = {"after_since": date.fromisoformat(str(since)), "after_reason": str(Reason(str(reason)))}
    except ValueError:
        raise Malformed([Violation("/after", "page.cursor", "This cursor is of another list.")]) from None
    return position | {"after_id": keyset.after_id(2)}


@lru_cache
def _build(reach: Reach, has_reminder: bool, reads_hypotheses: bool, continues: bool) -> Select[Any]:
    """Returns the statement for a page of tasks. To build it takes longer than to execute it, so it is kept.

    * `reach` is the acting person's.
    * `has_reminder` says whether the playbook reminds of overdue scores.
    * `reads_hypotheses` says whether the caller may read hypotheses.
    * `continues` says whether the page begins after a row, whose position is `AFTER`.
    """
    queries = [*_of_supports(has_reminder), *_of_concerns(reach), _of_action_items()]
    if reads_hypotheses:
        queries.append(_of_hypotheses())
    listed = union_all(*queries).subquery()
    order = (listed.c.since, listed.c.reason, listed.c.id)
    student = and_(Person.district_id == DISTRICT_ID, Person.id == listed.c.student_id)
    query = select(listed).outerjoin(Person, student).where(Person.removed_at.is_(None))
    if continues:
        query = query.where(tuple_(*order) > tuple_(*AFTER))
    return query.order_by(*order).limit(bindparam("limit", type_=Integer))


def _tasks(reason: Reason, since: Any, row: Any, student: Any, **ids: Any) -> Select[Any]:
    """Returns a query for the tasks with one reason. All such queries have the same columns, as UNION requires.

    * `since` is the day since which something has been a task.
    * `row` is the id column of the record that causes the task, such as an action item.
    * `student` is the column with the id of the record's student.
    * `ids` has the id columns of the records that the task is about, keyed by kind of record.
    """
    columns = [cast(ids.get(kind, null()), Uuid).label(f"{kind}_id") for kind in KINDS]
    return select(
        literal(str(reason), Text).label("reason"), since.label("since"), row.label("id"), student.label("student_id")
    ).add_columns(*columns)


def _of_action_items() -> Select[Any]:
    tasks = _tasks(
        Reason.ACTION_DUE, ActionItem.due_on, ActionItem.id, ActionItem.student_id, action_item=ActionItem.id
    )
    return tasks.where(ActionItem.owner_id == PERSON_ID, *are_due(DISTRICT_ID, UNTIL, TODAY))


def _of_supports(has_reminder: bool) -> Iterator[Select[Any]]:
    """Yields the queries for overdue scores and for overdue decisions, of supports that a person leads or provides.

    Without a reminder of overdue scores, there is no query for them.
    """
    own = (Support.district_id == DISTRICT_ID, or_(Support.lead_id == PERSON_ID, Support.provider_id == PERSON_ID))
    for of_measure in (FIRST, FURTHER) if has_reminder else ():
        since = last_check(DISTRICT_ID, of_measure)
        tasks = _tasks(Reason.CHECK_OVERDUE, since, of_measure.about, Support.student_id, support=Support.id)
        for table in of_measure.tables:
            tasks = tasks.join(table, and_(table.district_id == DISTRICT_ID, table.support_id == Support.id))
        yield tasks.where(*own, *checks_overdue(DISTRICT_ID, of_measure, since, SCORE_DAYS, TODAY))
    tasks = _tasks(Reason.DECISION_DUE, ResponseState.since_on, Support.id, Support.student_id, support=Support.id)
    state = and_(ResponseState.district_id == DISTRICT_ID, ResponseState.support_id == Support.id)
    yield tasks.join(ResponseState, state).where(*own, *decision_due(DISTRICT_ID))


def _of_concerns(reach: Reach) -> Iterator[Select[Any]]:
    """Yields a query for concerns that nobody has answered, and one for accepted concerns without an active support.

    Both select only concerns about the acting person's own students.
    """
    own = (Concern.district_id == DISTRICT_ID, own_students(reach, Concern.student_id))
    for reason, since, condition in (
        (Reason.CONCERN_UNANSWERED, Concern.raised_on, Concern.state == ConcernState.RAISED),
        (Reason.CONCERN_UNSERVED, Concern.unserved_order, IS_UNSERVED),
    ):
        yield _tasks(reason, since, Concern.id, Concern.student_id, concern=Concern.id).where(*own, condition)


def _of_hypotheses() -> Select[Any]:
    """Returns the query for the hypotheses that are due for review and that are tasks of a person.

    These are the hypotheses that the person proposed, and those that are tested by a support that the person leads or
    provides.
    """
    gives = select(Support.id).where(
        Support.district_id == DISTRICT_ID,
        Support.id == Hypothesis.support_id,
        or_(Support.lead_id == PERSON_ID, Support.provider_id == PERSON_ID),
    )
    tasks = _tasks(
        Reason.HYPOTHESIS_DUE,
        Hypothesis.due_since,
        Hypothesis.id,
        Hypothesis.student_id,
        hypothesis=Hypothesis.id,
        support=Hypothesis.support_id,
        concern=Hypothesis.concern_id,
    )
    return tasks.where(
        Hypothesis.district_id == DISTRICT_ID,
        Hypothesis.due_since < NOT_DUE,
        or_(Hypothesis.proposed_by == PERSON_ID, gives.exists()),
    )

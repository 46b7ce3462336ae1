"""Asks teams to review a hypothesis if its support has ended or the support's verdict has changed.

Closes no hypothesis.
"""

from sqlalchemy import and_, any_, case, cast, literal, or_, select, update
from sqlalchemy.orm import aliased
from sqlalchemy.types import Date

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import HYPOTHESIS_DUE
from app.events.outbox import record
from app.events.reminders import AT_ONCE
from app.hypothesis.models import NOT_DUE, Hypothesis
from app.hypothesis.rules import NO_TURN, DueBecause, HypothesisState
from app.hypothesis.service import hypothesis_event
from app.response.models import ResponseState
from app.roster.lookup import IdList, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.support.models import Support


@needs(Can.JUDGE)
async def ask_about_hypotheses(work: Work) -> int:
    """Marks hypotheses as due for review, and records an event for each. Returns the number of marked hypotheses.

    A hypothesis is due if its support has ended, or if the state of the support's verdict differs from the state that
    the team last considered. A state from which nothing follows, such as `uncertain`, does not count (see `NO_TURN`).
    Hypotheses about students who left are skipped. If another transaction has locked the student, a later run marks the
    hypothesis.
    """
    tested, verdict = aliased(Support), aliased(ResponseState)
    has_turned = and_(
        verdict.state.not_in(NO_TURN),
        or_(Hypothesis.verdict_state.is_(None), Hypothesis.verdict_state != verdict.state),
    )
    is_due = (
        Hypothesis.district_id == work.district_id,
        Hypothesis.state == HypothesisState.TESTING,
        Hypothesis.due_since == NOT_DUE,
    )
    query = (
        select(Hypothesis.id, Hypothesis.student_id, tested.state == "ended", verdict.state)
        .join(tested, and_(tested.district_id == work.district_id, tested.id == Hypothesis.support_id))
        .outerjoin(verdict, and_(verdict.district_id == work.district_id, verdict.support_id == tested.id))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Hypothesis.student_id))
        .where(*is_due, Person.removed_at.is_(None), or_(tested.state == "ended", has_turned))
        .order_by(Hypothesis.id)
        .limit(AT_ONCE)
    )
    due = (await work.db.execute(query)).all()
    locked = await lock_students(work, {student_id for _, student_id, _, _ in due}, wait=False)
    rows = [row for row in due if row[1] in locked]
    if not rows:
        return 0
    ended = [hypothesis_id for hypothesis_id, _, has_ended, _ in rows if has_ended]
    because = case(
        (Hypothesis.id == any_(cast(ended, IdList)), literal(str(DueBecause.SUPPORT_ENDED))),
        else_=literal(str(DueBecause.VERDICT_TURNED)),
    )
    today = await today_of(work)
    marked = await work.db.scalars(
        update(Hypothesis)
        .where(*is_due, Hypothesis.id == any_(cast([row[0] for row in rows], IdList)))
        .values(due_since=cast(literal(today), Date), due_because=because, version=Hypothesis.version + 1)
        .returning(Hypothesis)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    hypotheses = sorted(marked, key=lambda hypothesis: hypothesis.id)
    for hypothesis in hypotheses:
        record(work, hypothesis_event(HYPOTHESIS_DUE, hypothesis))
    return len(hypotheses)

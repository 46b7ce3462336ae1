"""Starts the planned supports whose first day has come, and judges their scores. Runs as a recurring task."""

from sqlalchemy import and_, any_, cast, select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import SUPPORT_STARTED
from app.events.outbox import record
from app.response.judging.judge import JudgingMode, judge_selected
from app.response.judging.load import SeriesSelection
from app.roster.lookup import IdList, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.support.changes.services import follow_services
from app.support.models import Support
from app.support.phase import support_event
from app.support.rules import Starts

AT_ONCE = 500
"""The maximum number of supports that one transaction starts; the next transaction starts the others."""


@needs(Can.JUDGE)
async def start_due_supports(work: Work) -> int:
    """Starts the planned supports that start by themselves and whose first day has come. Returns their number.

    A support is left out while another transaction has locked its student; the next run of this task starts it. If the
    student has left the roster, the support is started once the student is back.
    """
    today = await today_of(work)
    is_due = (
        Support.district_id == work.district_id,
        Support.state == "planned",
        Support.starts == Starts.ON_ITS_DAY,
        Support.starts_on <= today,
    )
    query = (
        select(Support.id, Support.student_id)
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(*is_due, Person.removed_at.is_(None))
        .order_by(Support.starts_on, Support.id)
        .limit(AT_ONCE)
    )
    due = (await work.db.execute(query)).all()
    locked = await lock_students(work, {student_id for _, student_id in due}, wait=False)
    support_ids = [support_id for support_id, student_id in due if student_id in locked]
    if not support_ids:
        return 0
    started = await work.db.scalars(
        update(Support)
        .where(*is_due, Support.id == any_(cast(support_ids, IdList)))
        .values(state="active", version=Support.version + 1)
        .returning(Support)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    supports = sorted(started, key=lambda support: (support.starts_on, support.id))
    for support in supports:
        record(work, support_event(SUPPORT_STARTED, support))
    if supports:
        await follow_services(work, [support.id for support in supports])
        selection = SeriesSelection(support_ids=[support.id for support in supports])
        await judge_selected(work, selection, JudgingMode())
    return len(supports)

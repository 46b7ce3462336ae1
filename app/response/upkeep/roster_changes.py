"""Changes supports when their students, or the people who lead them, leave the roster, move, or come back.

* A support of a student who left is suspended, and is active again once the student is back.
* A support of a student who moved continues at the new school. The support is marked as having moved with the student.
* A support whose lead left the roster, or is at none of the student's schools any more, is marked as having no lead.
* The student is removed from the caseloads of people who share no school with the student.

Runs in the transaction of the sync, which has locked the students. Each statement changes many rows.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, cast, delete, exists, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlalchemy.types import Date

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import SUPPORT_MOVED, SUPPORT_RESUMED, SUPPORT_SUSPENDED, SUPPORT_UNLED, EventType
from app.events.outbox import record
from app.roster.lookup import IdList
from app.roster.models import Caseload, Org, Person
from app.support.changes.services import follow_services
from app.support.models import Support
from app.support.phase import support_event

STUDENT, LEAD = aliased(Person, name="student"), aliased(Person, name="lead")
GOES_ON = ("planned", "active")


@needs(Can.SYNC_ROSTER)
async def follow_roster(work: Work, support_ids: Collection[UUID], moved: Collection[UUID], today: date) -> None:
    """Adapts these supports to the changes of their students and leads in the roster.

    `moved` are the ids of the supports whose students came to another school.
    """
    if not support_ids:
        return
    has_left, day = STUDENT.removed_at.is_not(None), cast(literal(today), Date)
    await _change(
        work, moved, SUPPORT_MOVED, ~has_left, Support.state.in_((*GOES_ON, "suspended")), values={"moved_on": day}
    )
    suspended = {"state": "suspended", "suspended_on": func.array_append(Support.suspended_on, day)}
    await _change(work, support_ids, SUPPORT_SUSPENDED, has_left, Support.state == "active", values=suspended)
    resumed = {"state": "active", "resumed_on": func.array_append(Support.resumed_on, day)}
    await _change(work, support_ids, SUPPORT_RESUMED, ~has_left, Support.state == "suspended", values=resumed)
    await follow_services(work, support_ids)
    goes_on = and_(~has_left, Support.state.in_(GOES_ON), LEAD.district_id == work.district_id)
    leads = and_(LEAD.removed_at.is_(None), LEAD.enabled, _shares_school(work, LEAD))
    of_lead = and_(goes_on, Support.lead_id == LEAD.id)
    await _change(
        work, support_ids, SUPPORT_UNLED, of_lead, ~leads, Support.unled_since.is_(None), values={"unled_since": day}
    )
    await _change(
        work, support_ids, None, of_lead, leads, Support.unled_since.is_not(None), values={"unled_since": None}
    )
    await _follow_caseloads(work, support_ids)


async def _change(
    work: Work,
    support_ids: Collection[UUID],
    event: EventType | None,
    *conditions: ColumnElement[bool],
    values: dict[str, Any],
) -> None:
    """Changes the supports that meet the conditions. Records `event`, if given, about each changed support."""
    if not support_ids:
        return
    changed = await work.db.scalars(
        update(Support)
        .where(
            Support.district_id == work.district_id,
            _is_any_of(Support.id, support_ids),
            STUDENT.district_id == work.district_id,
            STUDENT.id == Support.student_id,
            *conditions,
        )
        .values(version=Support.version + 1, **values)
        .returning(Support)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    for support in sorted(changed, key=lambda support: support.id):
        if event is not None:
            record(work, support_event(event, support))


async def _follow_caseloads(work: Work, support_ids: Collection[UUID]) -> None:
    """Removes each caseload entry that links a student to a person who shares no school with the student.

    Adds the missing entries of leads and providers who share a school with the student.
    """
    staff = aliased(Person, name="staff")
    common = (
        STUDENT.district_id == work.district_id,
        staff.district_id == work.district_id,
    )
    await work.db.execute(
        delete(Caseload)
        .where(
            Caseload.district_id == work.district_id,
            _is_any_of(Caseload.support_id, support_ids),
            *common,
            STUDENT.id == Caseload.student_id,
            staff.id == Caseload.staff_id,
            ~_shares_school(work, staff),
        )
        .execution_options(synchronize_session=False)
    )
    for via, person_id in (("lead", Support.lead_id), ("provider", Support.provider_id)):
        entries = select(
            Support.district_id, staff.id, Support.student_id, literal(via), Support.id, Support.school_ids
        ).where(
            Support.district_id == work.district_id,
            _is_any_of(Support.id, support_ids),
            Support.state != "ended",
            *common,
            STUDENT.id == Support.student_id,
            staff.id == person_id,
            _shares_school(work, staff),
        )
        columns = ["district_id", "staff_id", "student_id", "via", "support_id", "school_ids"]
        await work.db.execute(insert(Caseload).from_select(columns, entries).on_conflict_do_nothing())


def _shares_school(work: Work, person: type[Person]) -> ColumnElement[bool]:
    """Returns SQL that is true if a member of staff is at a school of the student, or at the district itself."""
    at_district = exists().where(
        Org.district_id == work.district_id,
        Org.id == any_(person.school_ids),
        Org.type == "district",
        Org.removed_at.is_(None),
    )
    return or_(person.school_ids.overlap(STUDENT.school_ids), at_district)


def _is_any_of(column: Any, ids: Collection[UUID]) -> ColumnElement[bool]:
    values: Sequence[UUID] = sorted(ids)
    condition: ColumnElement[bool] = column == any_(cast(values, IdList))
    return condition

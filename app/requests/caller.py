"""Describes the caller of a request: its client, the person it acts for, the students it may see, its permissions."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import select

from app.access.models import District, TestClock
from app.access.permission import DEMOGRAPHICS_LOCK
from app.access.principal import Reach
from app.access.work import Work
from app.core.clock import today_in

NO_SCHOOL = UUID(int=0)
"""The placeholder school of a caller who may see no school."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request, with its district, its permissions and the students that it may see.

    `reach` says whether these are all students, those of some schools, or a caseload. `caseload` is the number of
    students in a caseload, otherwise None. `team_ids` are the teams of the person that the request acts for; the caller
    also sees the students of these teams.
    """

    client_id: UUID | None
    client_name: str
    district: District
    today: date
    person_id: UUID | None
    reach: Reach
    school_ids: tuple[UUID, ...]
    caseload: int | None
    team_ids: tuple[UUID, ...]
    scopes: tuple[str, ...]
    secured_areas: tuple[str, ...]


async def describe_caller(work: Work) -> Caller:
    """Returns the caller of this unit of work.

    The caller needs no permission, because the result is only about the caller and its district.
    """
    principal = work.principal

    async def read() -> tuple[District, date]:
        query = select(District, TestClock.today).outerjoin(TestClock, TestClock.district_id == work.district_id)
        row = (await work.db.execute(query.where(District.district_id == work.district_id))).one()
        return row[0], row[1] or today_in(row[0].time_zone)

    is_caseload = principal.reach is Reach.CASELOAD
    district, today = await work.run_step(read)
    return Caller(
        client_id=principal.client_id,
        client_name=principal.name,
        district=district,
        today=today,
        person_id=principal.person_id,
        reach=principal.reach,
        school_ids=tuple(sorted(school for school in principal.schools if school != NO_SCHOOL)),
        caseload=len(principal.students) if is_caseload else None,
        team_ids=principal.teams,
        scopes=tuple(sorted(can.value for can in principal.scopes)),
        secured_areas=tuple(sorted(principal.opens - {DEMOGRAPHICS_LOCK})),
    )

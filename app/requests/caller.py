"""Describes the caller of a request to itself: who it is, for whom it acts, and what it can reach and do."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from app.access.models import District
from app.access.permission import DEMOGRAPHICS_LOCK
from app.access.principal import Reach
from app.access.work import Work

NO_SCHOOL = UUID(int=0)
"""Stands among the schools of a caller who reaches none."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, its district, and its reach. `caseload` is the number of students where the reach is a caseload."""

    client_id: UUID | None
    client_name: str
    district: District
    person_id: UUID | None
    reach: Reach
    school_ids: tuple[UUID, ...]
    caseload: int | None
    scopes: tuple[str, ...]
    secured_areas: tuple[str, ...]


async def describe_caller(work: Work) -> Caller:
    """Returns the caller of this unit of work; needs no permission, since it tells only what the token says."""
    principal = work.principal

    async def read() -> District:
        return (await work.db.scalars(select(District).where(District.district_id == work.district_id))).one()

    is_caseload = principal.reach is Reach.CASELOAD
    return Caller(
        client_id=principal.client_id,
        client_name=principal.name,
        district=await work.run_step(read),
        person_id=principal.person_id,
        reach=principal.reach,
        school_ids=tuple(sorted(school for school in principal.schools if school != NO_SCHOOL)),
        caseload=len(principal.students) if is_caseload else None,
        scopes=tuple(sorted(can.value for can in principal.scopes)),
        secured_areas=tuple(sorted(principal.opens - {DEMOGRAPHICS_LOCK})),
    )

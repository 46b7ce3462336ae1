"""Reads the names of the people on the pages of a meeting, for callers who may read the roster."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.roster.lookup import IdList
from app.roster.models import Person


@needs(Can.READ_MEETINGS)
async def read_names(work: Work, person_ids: Iterable[UUID | None]) -> Mapping[UUID, str]:
    """Returns the names of people, by id. Returns no names if the caller may not read the roster.

    Only people that the caller may see are included.
    """
    unique_ids = {person_id for person_id in person_ids if person_id is not None}
    if not unique_ids or not work.principal.may(Can.READ_ROSTER):
        return {}
    query = select(Person.id, Person.given_name, Person.family_name, Person.is_student).where(
        Person.district_id == work.district_id, Person.id == any_(cast(list(unique_ids), IdList))
    )
    people = (await work.db.execute(query)).all()
    work.disclose("student", (person.id for person in people if person.is_student))
    return {person.id: f"{person.given_name} {person.family_name}" for person in people}

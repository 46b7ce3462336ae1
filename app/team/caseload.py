"""Determines which students a member of staff may see.

A person may see the students that the person teaches (according to enrollments), the students of supports that the
person leads or delivers, and the students of the person's teams. While a team is active, its students are seen by the
people who are members today. What a member may do for these students follows from the member's role in the roster.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import any_, cast, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import SEES_SCHOOL, Can
from app.access.principal import ActingPerson, Principal, Reach, acting_for
from app.access.work import Work, needs, unit
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Invalid, Malformed, Violation
from app.roster.lookup import IdList, locate_staff
from app.roster.models import Caseload, Person
from app.roster.references import parse
from app.team.rules import TeamState

ACT_FOR: Final = "Aimline-Act-For"
"""The header that names the person that a request acts for, by id or external id."""
POINTER: Final = f"/{ACT_FOR}"


_ACTING: Final = f"""
SELECT p.role, p.enabled AND p.removed_at IS NULL, p.school_ids,
       EXISTS (SELECT FROM org o WHERE o.district_id = $1 AND o.id = ANY (p.school_ids)
                                   AND o.type = 'district' AND o.removed_at IS NULL),
       ARRAY (
           SELECT s.id FROM person s
           WHERE s.district_id = $1 AND s.removed_at IS NULL AND (NOT of_role.sees_schools
               OR NOT s.school_ids && ARRAY (SELECT u.id FROM unnest(p.school_ids) AS u (id)
                                             WHERE $5::uuid[] IS NULL OR u.id = ANY ($5::uuid[])))
             AND s.id = ANY (CASE
               WHEN p.removed_at IS NOT NULL THEN '{{{{}}}}'
               WHEN of_role.sees_schools THEN served.ids
               ELSE ARRAY (SELECT c.student_id FROM caseload c WHERE c.district_id = $1 AND c.staff_id = p.id)
               || ARRAY (
                   SELECT e.person_id FROM enrollment e
                   WHERE e.district_id = $1 AND e.is_student AND e.removed_at IS NULL
                     AND (e.ends_on IS NULL OR e.ends_on > today.day)
                     AND e.class_id = ANY (ARRAY (
                         SELECT t.class_id FROM enrollment t
                         WHERE t.district_id = $1 AND t.person_id = p.id AND NOT t.is_student AND t.removed_at IS NULL
                           AND (t.ends_on IS NULL OR t.ends_on > today.day))))
               || served.ids END)
           ORDER BY s.id),
       teams.ids, p.id
FROM person p
CROSS JOIN LATERAL (SELECT p.role = ANY ($4::text[]) AS sees_schools OFFSET 0) of_role
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT k.today FROM test_clock k WHERE k.district_id = $1),
                    ($3::timestamptz AT TIME ZONE d.time_zone)::date) AS day
    FROM district d WHERE d.district_id = $1 OFFSET 0) today
CROSS JOIN LATERAL (SELECT ARRAY (
    SELECT m.team_id FROM team_member m JOIN team g ON g.district_id = $1 AND g.id = m.team_id
    WHERE m.district_id = $1 AND m.person_id = p.id AND g.state = '{TeamState.ACTIVE}'
      AND m.from_on <= today.day AND (m.until_on IS NULL OR m.until_on > today.day)
    ORDER BY m.team_id) AS ids OFFSET 0) teams
CROSS JOIN LATERAL (SELECT ARRAY (
    SELECT v.student_id FROM team_student v
    WHERE v.district_id = $1 AND v.team_id = ANY (teams.ids)
      AND v.from_on <= today.day AND (v.until_on IS NULL OR v.until_on > today.day)) AS ids OFFSET 0) served
WHERE p.district_id = $1 AND p.id = {{person}} AND NOT p.is_student"""
ACTING: Final = _ACTING.format(person="$2")
"""Selects what an acting person may see.

The columns are the person's role, whether the person is active, the ids of the person's schools, whether one of these
is the district itself, the ids of the students and of the teams, and the person's id.

The students are the person's caseload, the students in the person's classes and the students of the person's teams. If
the role sees whole schools, the column has only students of the teams, without those whom the person already sees
through a school that the client sees too. A student who left the roster is left out, but a person who sees the
student's school or the district still sees the student's records.

The subqueries pass ids on as arrays. For a roster that was just loaded and has no statistics yet, PostgreSQL would plan
joins badly. `OFFSET 0` keeps PostgreSQL from copying a subquery to each place that uses its result.
"""
ACTING_BY_ALIAS: Final = _ACTING.format(
    person="""(
    SELECT x.row_id FROM external_id x JOIN source o ON o.district_id = $1 AND o.id = x.source_id
    WHERE x.district_id = $1 AND x.kind = 'person' AND o.name = $2 AND x.sourced_id = $6)"""
)
"""The same for a person who is named by an external id: a source and a `sourcedId`."""


@needs(Can.ACT_FOR)
async def acting_person(work: Work, name: str) -> ActingPerson:
    """Returns the role, the schools, the teams and the students of the person whose id or external id is `name`.

    The request acts for this person. Raises `Invalid` for an unknown person.
    """
    reference, client = parse("person", name, POINTER), work.principal
    schools_of_client = list(client.schools) if client.reach is Reach.SCHOOLS else None
    others = (now(), list(SEES_SCHOOL), schools_of_client)
    if reference.id is not None:
        rows = await work.run(ACTING, (work.district_id, reference.id, *others))
    else:
        rows = await work.run(ACTING_BY_ALIAS, (work.district_id, reference.source, *others, reference.sourced_id))
    if not rows:
        await locate_staff(work, name, POINTER)  # raises `Invalid`
    ((role, is_active, schools, whole_district, students, teams, person_id),) = rows
    return ActingPerson(
        person_id=person_id,
        role=role if is_active else "departed",
        whole_district=whole_district,
        schools=tuple(schools),
        students=tuple(students),
        teams=tuple(teams),
    )


async def bound_to_person(engine: AsyncEngine, keyring: Keyring, client: Principal, name: str) -> Principal:
    """Returns the principal of a request that a client sends for a person.

    It is the client, restricted to what this person may see and do. `name` is the id or external id of the person.
    Raises `Forbidden` if the client lacks the scope `act-for` or the person's role gives no access. Raises `Malformed`
    for an unknown person, because a wrong header is a bad request, like a wrong parameter.
    """
    try:
        async with unit(engine, client, keyring, "act-for") as work:
            return acting_for(client, await acting_person(work, name))
    except Invalid as error:
        raise Malformed(error.violations) from None


def only_person(values: Sequence[str]) -> str | None:
    """Returns the value of the header `Aimline-Act-For`, or None without one.

    `values` has the value of each such header of a request. Raises `Malformed` if there are several, because a proxy or
    a library between the client and this service could read another one of them.
    """
    if len(values) > 1:
        raise Malformed([Violation(POINTER, "header.repeated", "Send this header once.")])
    return values[0] if values else None


@needs(Can.PLAN_SUPPORT)
async def assign(work: Work, staff_id: UUID, student: Person, via: str, support_id: UUID) -> None:
    """Adds a student to a staff member's caseload because of a support. Does nothing if the entry exists already.

    `via` is what the person does for the support: `lead` or `provider`.
    """
    await work.db.execute(
        insert(Caseload)
        .values(
            district_id=work.district_id,
            staff_id=staff_id,
            student_id=student.id,
            via=via,
            support_id=support_id,
            school_ids=student.school_ids,
        )
        .on_conflict_do_nothing()
    )


@needs(Can.PLAN_SUPPORT)
async def release(work: Work, support_id: UUID) -> None:
    """Removes the caseload entries that exist because of a support.

    A student who is on a caseload for another reason stays on it.
    """
    await work.db.execute(
        delete(Caseload).where(Caseload.district_id == work.district_id, Caseload.support_id == support_id)
    )


@needs(Can.PLAN_SUPPORT)
async def reassign(work: Work, entries: Sequence[tuple[UUID, UUID, Sequence[UUID], str, UUID | None]]) -> None:
    """Rewrites the caseload entries of supports, after other people have come to lead or provide them.

    Each tuple in `entries` is about one support and one role: the ids of the support, of its student and of the
    student's schools, the role (`lead` or `provider`), and the id of the person who has this role, or None for nobody.
    All stored entries of these supports are deleted, and an entry is added for each tuple with a person.
    """
    support_ids = cast(sorted({support_id for support_id, *_ in entries}), IdList)
    await work.db.execute(
        delete(Caseload).where(Caseload.district_id == work.district_id, Caseload.support_id == any_(support_ids))
    )
    rows = [
        {"district_id": work.district_id, "staff_id": staff_id, "student_id": student_id, "via": via}
        | {"support_id": support_id, "school_ids": list(school_ids)}
        for support_id, student_id, school_ids, via, staff_id in entries
        if staff_id is not None
    ]
    if rows:
        await work.db.execute(insert(Caseload).on_conflict_do_nothing(), rows)

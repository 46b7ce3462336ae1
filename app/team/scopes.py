"""Adds and ends the scopes of a team. A scope is a grade of a school, a class, or a student whom the team serves."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, day_violations, input_violations
from app.events.catalogue import TEAM_STUDENTS_CHANGED
from app.roster.lookup import find_row, today_of
from app.roster.models import Org, SchoolClass
from app.roster.references import parse
from app.roster.student_lock import lock_student
from app.team.lookup import count_change, lock_team
from app.team.models import Team, TeamScope, lasts_beyond
from app.team.rules import kind_of_scope, violations_of_end
from app.team.service import FROM, UNTIL
from app.team.students import Only, emit_team_event, follow_scopes, lock_served_students

OUT_OF_REACH: Final = "A client or person of some schools has teams serve students of these schools only."


@dataclass(frozen=True, slots=True)
class NewTeamScope:
    """Whom a team serves: a school with a grade, or a class, or a student."""

    school: Annotated[
        str | None,
        About("The school of a grade: an id, or an external id.", "org_01jq4n6d9zf3vbs0x5k2m7e8tc"),
    ] = None
    grade: Annotated[str | None, Text(min=1, max=40), About("The grade: a CEDS code.", "03")] = None
    school_class: Annotated[
        str | None,
        About("A class: an id, or an external id.", "cls_01jq4n6d9zf3vbs0x5k2m7e8td"),
    ] = None
    student: Annotated[
        str | None,
        About("A student: an id, or an external id.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ] = None
    from_on: Annotated[date | None, FROM] = None


@dataclass(frozen=True, slots=True)
class SavedScope:
    """A scope of a team, and whether the command has created it."""

    row: TeamScope
    is_new: bool


@needs(Can.FORM_TEAMS)
async def add_team_scope(work: Work, team_id: UUID, new: NewTeamScope) -> SavedScope:
    """Assigns a team to a grade of a school, a class or a single student, and updates the team's students at once.

    From the first day on, the members of the team see these students. Later, each sync updates the team's students from
    the roster. If the team has this scope already, nothing changes. Raises `Invalid` unless exactly one of a grade, a
    class and a student is given, and for students outside the caller's schools. Raises `Conflict` if the team has this
    scope already and the scope has a last day.
    """
    violations = Violations(input_violations(new))
    team = await lock_team(work, team_id)
    values = await _served(work, new, violations)
    violations.refuse()
    today = await today_of(work)
    from_on = new.from_on or today
    present = await _present(work, team, values, max(today, from_on))
    if present is not None:
        return SavedScope(present, is_new=False)
    scope = TeamScope(
        district_id=work.district_id,
        id=new_id(),
        team_id=team.id,
        team_school_id=team.school_id,
        from_on=from_on,
        version=1,
        **({"school_ids": []} | values),
    )
    work.db.add(scope)
    return SavedScope(await _changed(work, team, scope, today), is_new=True)


@needs(Can.FORM_TEAMS)
async def end_team_scope(work: Work, team_scope_id: UUID, until_on: Annotated[date | None, UNTIL] = None) -> TeamScope:
    """Ends a scope of a team.

    From the day `until_on`, the team's members no longer see students because of this scope.
    """
    query = select(TeamScope).where(TeamScope.district_id == work.district_id, TeamScope.id == team_scope_id)
    scope = await work.db.scalar(query)
    if scope is None:
        raise NotFound("team_scope")
    team = await lock_team(work, scope.team_id)
    await lock_served_students(work, Only(scope_id=scope.id))
    await work.db.refresh(scope)
    today = await today_of(work)
    if scope.until_on is not None and scope.until_on <= max(today, scope.from_on):
        raise Conflict("The team has stopped serving these students.", code="team.scope_ended")
    ends_on = until_on or max(today, scope.from_on)
    if violations := [*day_violations(until_on, "/until_on"), *violations_of_end(scope.from_on, ends_on, today)]:
        raise Invalid(violations)
    scope.until_on = ends_on
    scope.version += 1
    return await _changed(work, team, scope, today)


async def _served(work: Work, new: NewTeamScope, violations: Violations) -> dict[str, Any]:
    """Returns the columns of a new scope that say whom the team serves.

    Adds a violation unless exactly one of a grade, a class and a student is given. Adds one for each school, class or
    student that is unknown or outside the caller's schools.
    """
    values: dict[str, Any] = {}
    with violations:
        try:
            values["kind"] = kind_of_scope(new.school, new.grade, new.school_class, new.student)
        except ValueError as error:
            raise Invalid([Violation("", "team.scope_kind", str(error))]) from None
    with violations:
        if new.school is not None:
            of_school = (Org.type == "school", Org.removed_at.is_(None))
            school = await find_row(work, Org, parse("org", new.school, "/school"), "/school", *of_school)
            _require_reach(work, [school.id], "/school")
            values["served_school_id"] = school.id
    with violations:
        if new.grade is not None:
            values["grade"] = new.grade
    with violations:
        if new.school_class is not None:
            reference = parse("class", new.school_class, "/school_class")
            present = SchoolClass.removed_at.is_(None)
            school_class = await find_row(work, SchoolClass, reference, "/school_class", present)
            _require_reach(work, [school_class.school_id], "/school_class")
            values["class_id"] = school_class.id
    with violations:
        if new.student is not None:
            student = await lock_student(work, new.student, "/student")
            _require_reach(work, student.school_ids, "/student")
            values |= {"student_id": student.id, "school_ids": student.school_ids}
    return values


def _require_reach(work: Work, school_ids: list[UUID], pointer: str) -> None:
    """Raises `Invalid` unless one of these schools is among the caller's schools.

    It does not suffice that the caller sees students of the school through a team.
    """
    principal = work.principal
    if principal.reach is Reach.DISTRICT:
        return
    if principal.reach is not Reach.SCHOOLS or not set(school_ids) & set(principal.schools):
        raise Invalid([Violation(pointer, "team.out_of_reach", OUT_OF_REACH)])


async def _present(work: Work, team: Team, values: dict[str, Any], day: date) -> TeamScope | None:
    """Returns the scope that the team already has for the same grade, class or student, or None.

    Raises `Conflict` if this scope has a last day.
    """
    named = [getattr(TeamScope, name) == value for name, value in values.items() if name != "school_ids"]
    still = lasts_beyond(TeamScope, day)
    same = (TeamScope.district_id == work.district_id, TeamScope.team_id == team.id)
    scope = await work.db.scalar(select(TeamScope).where(*same, *named, still).limit(1))
    if scope is not None and scope.until_on is not None:
        raise Conflict("The team serves these students until a day that is set.", code="team.serves_already")
    return scope


async def _changed(work: Work, team: Team, scope: TeamScope, today: date) -> TeamScope:
    await count_change(work, team)
    await follow_scopes(work, today, Only(scope_id=scope.id))
    work.disclose("team", [] if scope.student_id is None else [scope.student_id])
    emit_team_event(work, TEAM_STUDENTS_CHANGED, team.id, team.version, team.school_id)
    return scope

"""Defines the principal: the caller of an operation, its district, and the rows and actions it may access."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from app.access.permission import (
    AREA_PREFIX,
    DEMOGRAPHICS_LOCK,
    ROLE_OPENS,
    SEES_SCHOOL,
    SEES_SECURED,
    Can,
)
from app.core import ids
from app.core.errors import Forbidden

EVERYTHING_SECURED = "*"


class Reach(StrEnum):
    """Which students of the district a principal sees: all of them, those of some schools, or a list (a caseload).

    The students of a team are added to the list `Principal.students`. A team member with the reach `schools` sees these
    students in addition to those of the schools.
    """

    DISTRICT = "district"
    SCHOOLS = "schools"
    CASELOAD = "caseload"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that a unit of work is bound to. Without a principal, no database session opens.

    * `reach` says which students the caller sees.
    * `schools` lists the visible schools if the reach is `schools`.
    * `students` is the caseload if the reach is `caseload`. If the reach is `schools`, it lists the students of other
      schools whom the principal sees through a team.
    * `teams` are the teams of the person that the client sends the request for, if there is one.
    * `opens` lists additional access: codes of secured areas, `demographics`, or `*` for the system's own jobs.
    """

    district_id: UUID
    name: str
    reach: Reach
    scopes: frozenset[Can]
    schools: tuple[UUID, ...] = ()
    students: tuple[UUID, ...] = ()
    opens: frozenset[str] = frozenset()
    client_id: UUID | None = None
    person_id: UUID | None = None
    teams: tuple[UUID, ...] = ()

    @property
    def names_students(self) -> bool:
        """Returns whether the principal sees some students because their ids are in the list `students`."""
        return self.reach is Reach.CASELOAD or (self.reach is Reach.SCHOOLS and bool(self.students))

    def may(self, can: Can) -> bool:
        """Returns whether the principal has this permission."""
        return can in self.scopes

    def opens_area(self, secured_area: str | None) -> bool:
        """Returns whether the principal may see records of a secured area, such as counselling; True for None."""
        return secured_area is None or secured_area in self.opens or EVERYTHING_SECURED in self.opens

    def log_names(self) -> dict[str, str | None]:
        """Returns the fields that identify the principal in log lines: ids of district and client, never a name."""
        client = ids.format_id("client", self.client_id) if self.client_id else None
        return {"district": ids.format_id("district", self.district_id), "client": client}

    def binding(self) -> str:
        """Returns the SQL statement that binds a transaction to this principal.

        The statement calls the database function `app.enter`, whose values the row-level security policies read. It is
        sent together with BEGIN.
        """
        arguments = ", ".join(f"'{argument}'" for argument in self.binding_arguments())
        return f"SELECT app.enter({arguments});"

    def binding_arguments(self) -> tuple[str, ...]:
        """Returns the arguments for `app.enter` that describe this principal. No argument contains a quotation mark."""
        schools = ",".join(str(school) for school in self.schools)
        students = "|".join(parts_of(self.students)) if self.names_students else ""
        opens = ",".join(sorted(code for code in self.opens if _is_code(code)))
        teams = ",".join(str(team) for team in self.teams)
        lists = (f"{{{schools}}}", students, f"{{{opens}}}", f"{{{teams}}}")
        return (str(self.district_id), self.reach.value, *lists)


def parts_of(student_ids: Iterable[UUID]) -> list[str]:
    """Groups the ids by their last hexadecimal digit. Returns sixteen texts, each with the ids of one digit.

    A row-level security policy that looks for an id searches only the text for the last digit of this id.
    """
    parts: list[list[str]] = [[] for _ in range(16)]
    for student_id in student_ids:
        parts[student_id.int % 16].append(str(student_id))
    return [",".join(part) for part in parts]


@dataclass(frozen=True, slots=True)
class ActingPerson:
    """The person that a client sends a request for.

    The person's role, schools, teams and students restrict the request.

    `students` has the person's caseload and the students of the person's teams. If the person sees all students of some
    schools anyway, `students` has only students of the teams who attend other schools.
    """

    person_id: UUID
    role: str
    whole_district: bool
    schools: tuple[UUID, ...]
    students: tuple[UUID, ...]
    teams: tuple[UUID, ...] = ()


def client_principal(
    district_id: UUID,
    client_id: UUID,
    name: str,
    scopes: frozenset[str],
    schools: tuple[UUID, ...] = (),
) -> Principal:
    """Returns the principal of a machine client.

    It sees the students of the given schools. Without schools, it sees all students of the district.
    """
    permissions = frozenset(can for can in Can if str(can) in scopes)
    opens = {scope.removeprefix(AREA_PREFIX) for scope in scopes if scope.startswith(AREA_PREFIX)}
    if Can.READ_DEMOGRAPHICS in permissions:
        opens.add(DEMOGRAPHICS_LOCK)
    return Principal(
        district_id=district_id,
        name=name,
        reach=Reach.SCHOOLS if schools else Reach.DISTRICT,
        scopes=permissions,
        schools=schools,
        opens=frozenset(opens),
        client_id=client_id,
    )


def acting_for(client: Principal, acting: ActingPerson) -> Principal:
    """Returns the client's principal, restricted to what the person `acting` may see and do.

    Raises `Forbidden` for a role without any access, such as that of a student or a parent.
    """
    role_opens = ROLE_OPENS.get(acting.role)
    if role_opens is None:
        raise Forbidden("This person's role gives no access here.", code="act_for.role")
    if acting.role in SEES_SCHOOL:
        schools = _schools_of(client, acting)
        reach = Reach.SCHOOLS if schools is not None else Reach.DISTRICT
        students = acting.students if reach is Reach.SCHOOLS else ()
        reached = replace(client, reach=reach, schools=schools or (), students=students)
    else:
        # `acting.students` was limited to the client's schools, so a client gets no other students through a teacher.
        reached = replace(client, reach=Reach.CASELOAD, students=acting.students)
    opens = client.opens if acting.role in SEES_SECURED else client.opens & {DEMOGRAPHICS_LOCK}
    return replace(
        reached,
        scopes=client.scopes & (role_opens | {Can.READ_DEMOGRAPHICS}),
        opens=opens,
        person_id=acting.person_id,
        teams=acting.teams,
    )


def system_principal(district_id: UUID, name: str) -> Principal:
    """Returns the principal of the system's own jobs in one district, such as syncs and judging."""
    return Principal(
        district_id=district_id,
        name=name,
        reach=Reach.DISTRICT,
        scopes=frozenset(Can),
        opens=frozenset({EVERYTHING_SECURED}),
    )


def _schools_of(client: Principal, acting: ActingPerson) -> tuple[UUID, ...] | None:
    """Returns the schools that both the client and the person may see. None means the whole district."""
    if acting.whole_district:
        return client.schools if client.reach is Reach.SCHOOLS else None
    if client.reach is Reach.SCHOOLS:
        return tuple(school for school in acting.schools if school in client.schools) or _NO_SCHOOL
    return acting.schools or _NO_SCHOOL


def _is_code(code: str) -> bool:
    return code == EVERYTHING_SECURED or (
        code.isascii() and code.replace(".", "").replace("-", "").replace("_", "").isalnum()
    )


_NO_SCHOOL = (UUID(int=0),)

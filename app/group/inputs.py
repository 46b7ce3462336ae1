"""Declares the inputs of the commands on groups, with their descriptions and bounds."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from app.core.inputs import About, AtMost, Choices
from app.core.text import Text
from app.intervention.adherence import DoneParts
from app.support.changes.inputs import LIBRARY_ENTRY
from app.support.rules import LostBecause, Starts

MAX_MEMBERS = 40
STUDENT = About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """A student who joins a group, with the goal of the student's own support."""

    student: Annotated[str, STUDENT]
    goal: Annotated[float | None, About("The student's goal, in the measure's unit.", 70.0)] = None
    goal_on: Annotated[date | None, About("The day of the goal; by default, the group's.", date(2027, 2, 12))] = None
    baseline: Annotated[
        float | None, About("Where the aimline begins; by default, the median of the last three scores.", 42.0)
    ] = None
    concerns: Annotated[
        tuple[str, ...],
        AtMost(100),
        About("The ids of the accepted concerns that the support answers.", ("con_01jq4n6d9zf3vbs0x5k2m7e8te",)),
    ] = ()
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """The input of `form_group`. With `measure`, each member has a goal; without it, the group has a review date."""

    school: Annotated[str, About("The school: an id, or `sis:<source>:<sourcedId>`.", "org_01jq4n6d9zf3vbs0x5k2m7e8tc")]
    name: Annotated[str, Text(min=1, max=100), About("The group's name, without names of students.", "Blue table")]
    level: Annotated[int, About("The rank of a level: 2 is targeted by default.", 2)]
    starts_on: Annotated[date, About("The first day.", date(2026, 9, 21))]
    minutes_per_session: Annotated[int, About("The planned minutes of a session.", 30)]
    sessions_per_week: Annotated[int, About("The planned sessions of a week.", 4)]
    members: Annotated[tuple[NewMember, ...], AtMost(MAX_MEMBERS, least=1), About("The students.")]
    intervention: Annotated[
        str | None,
        Text(min=1, max=400),
        About("The intervention in free words; by default, the name of the library's entry.", "Repeated reading"),
    ] = None
    library_entry: Annotated[str | None, LIBRARY_ENTRY] = None
    measure: Annotated[str | None, About("The measure by which the response is followed: a code or an id.", "orf")] = (
        None
    )
    goal_on: Annotated[date | None, About("The day of the members' goals.", date(2027, 2, 12))] = None
    review_on: Annotated[date | None, About("The day of review, without a measure.", date(2026, 12, 1))] = None
    area: Annotated[str | None, About("The area: a code or an id; by default, the measure's.", "ela.fluency")] = None
    lead: Annotated[
        str | None, About("Who leads the supports: an id, or an external id.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb")
    ] = None
    provider: Annotated[
        str | None, About("Who provides them: an id, or an external id.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb")
    ] = None
    starts: Annotated[
        str, Choices(Starts), About("Whether the supports start by themselves on their first day.", "on_its_day")
    ] = "on_its_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """What is known about one member in a group's session. By default, the member got what the session delivered."""

    student: Annotated[str, STUDENT]
    attended: Annotated[bool | None, About("Whether the student was present.", False)] = None
    minutes: Annotated[int | None, About("The minutes that the student got.", 20)] = None
    because: Annotated[
        str | None, Choices(LostBecause), About("Why the student lost minutes; by default, `absent`.", "absent")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroupSession:
    """One session of a group, which covers everybody who was present. Sending it again unchanged does nothing.

    Members who are not named in `attendance` received what the session delivered.
    """

    held_on: Annotated[date, About("The day on which it took place, or should have.", date(2026, 9, 22))]
    number: Annotated[int, About("The session's number, where there are several on the day.", 1)] = 1
    planned_minutes: Annotated[int | None, About("By default, the minutes that the group plans.", 30)] = None
    delivered_minutes: Annotated[
        int | None, About("By default, the planned minutes, or 0 if the session was lost.", 30)
    ] = None
    lost_because: Annotated[
        str | None, Choices(LostBecause), About("Why minutes were lost for everybody.", "schedule")
    ] = None
    done_parts: DoneParts = None
    attendance: Annotated[
        tuple[Attendance, ...], AtMost(MAX_MEMBERS), About("The members who were absent or got other minutes.")
    ] = ()
    external_id: Annotated[
        str | None, Text(min=1, max=200), About("The sender's own id of the session.", "lesson-118")
    ] = None

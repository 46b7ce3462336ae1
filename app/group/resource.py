"""Declares the public shapes of groups, their members and sessions, and the commands on them."""

from datetime import date, datetime
from operator import attrgetter

from sqlalchemy import and_

from app.access.permission import Can
from app.events.catalogue import (
    GROUP_CHANGED,
    GROUP_ENDED,
    GROUP_FORMED,
    RESPONSE_ENDED,
    SUPPORT_ENDED,
    SUPPORT_HANDED_OVER,
    SUPPORT_PLANNED,
    SUPPORT_STARTED,
)
from app.group import handover, service, sessions
from app.group.chart import GroupChartValue, group_pictures
from app.group.lookup import IS_UNLED
from app.group.models import Group, GroupMember, GroupSession
from app.group.rules import GroupState
from app.intervention.resource import InterventionResource
from app.playbook.filters import by_area, by_level
from app.playbook.resource import AreaResource, LevelResource, MeasureResource
from app.resources.command import Body, Command
from app.resources.declare import Link, OneLink, Resource
from app.resources.fields import choice, computed, field, one
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import One
from app.resources.values import Value, item
from app.response.commands import JUDGED
from app.roster.filters import NAMED, by_staff, of_school
from app.roster.resource import StaffResource, StudentResource
from app.roster.schools import SchoolResource
from app.support.delivery import SessionResource
from app.support.models import Session, Support
from app.support.resource import SupportResource
from app.support.rules import LostBecause

OF_MEASURE: Filter[str] = Filter(
    "measure", str, None, "A measure of its members: a code or an id; by default, the group's.", "maze"
)


class GroupResource(Resource[Group], kind="group", requires=Can.READ_SUPPORTS, name="Group", get="group", node=False):
    """Students who are served together, each with a support of their own. It has no data about a student."""

    school: One[SchoolResource] = one(Group.school_id, SchoolResource, "The school.")
    name: str = field(Group.name, "The group's name, without names of students.", "Blue table")
    intervention: str = field(Group.intervention, "The intervention.", "Repeated reading")
    library_entry: One[InterventionResource] | None = one(
        Group.intervention_id, InterventionResource, "The version of the library's entry that it follows."
    )
    area: One[AreaResource] = one(Group.area_id, AreaResource, "The area.")
    level: One[LevelResource] = one(Group.level_id, LevelResource, "The level of support.")
    measure: One[MeasureResource] | None = one(
        Group.measure_id,
        MeasureResource,
        "The measure by which its members are followed; null for a group without one.",
    )
    lead: One[StaffResource] | None = one(Group.lead_id, StaffResource, "The person who leads it.")
    provider: One[StaffResource] | None = one(Group.provider_id, StaffResource, "The person who provides it.")
    minutes_per_session: int = field(Group.minutes_per_session, "The planned minutes of a session.", 30)
    sessions_per_week: int = field(Group.sessions_per_week, "The planned sessions of a week.", 4)
    starts_on: date = field(Group.starts_on, "The first day.")
    ends_on: date | None = field(Group.ends_on, "The first day without the group, once it has ended.")
    goal_on: date | None = field(Group.goal_on, "The day of its members' goals, unless they have their own.")
    review_on: date | None = field(Group.review_on, "The day of review, in a group without a measure.")
    state: GroupState = choice(Group.state, "The state of the group.")
    size: int = field(Group.size, "The number of present members, also of those that the caller may not see.", 4)
    version: int = field(Group.version, "The number of changes; the ETag.", 1)
    chart: GroupChartValue | None = computed(
        group_pictures,
        (Group.id,),
        "Its chart, for its measure or for a further one of its members; null for a group without the measure.",
        arguments=(OF_MEASURE,),
        requires=(Can.READ_SUPPORTS,),
        rest=None,
    )


class GroupMemberResource(
    Resource[GroupMember],
    requires=Can.READ_SUPPORTS,
    about=GroupMember.student_id,
    discloses="support",
    name="GroupMember",
):
    """A student's membership in a group. A caller sees only the memberships of students that the caller may see."""

    student: One[StudentResource] = one(GroupMember.student_id, StudentResource, "The student.")
    support: One[SupportResource] = one(GroupMember.support_id, SupportResource, "The student's own support.")
    from_on: date = field(GroupMember.from_on, "The first day of the membership.")
    until_on: date | None = field(GroupMember.until_on, "The first day after it; null while it lasts.")


class GroupSessionResource(
    Resource[GroupSession], kind="group_session", requires=Can.READ_SUPPORTS, name="GroupSession", node=False
):
    """One session of a group, which took place or was lost.

    Each member's part in it is a session of the member's own support.
    """

    held_on: date = field(GroupSession.held_on, "The day on which it took place, or should have.")
    number: int = field(GroupSession.number, "The session's number on its day.", 1)
    planned_minutes: int = field(GroupSession.planned_minutes, "The planned minutes.", 30)
    lost_because: LostBecause | None = choice(GroupSession.lost_because, "Why minutes were lost for everybody.")
    recorded_by: One[StaffResource] | None = one(
        GroupSession.recorded_by, StaffResource, "The person who recorded it, if a person did."
    )
    external_id: str | None = field(GroupSession.external_id, "The sender's own id.", "lesson-118")
    recorded_at: datetime = field(GroupSession.recorded_at, "When it was recorded.")
    version: int = field(GroupSession.version, "The number of changes.", 1)


class HandedOverValue(Value):
    """The numbers of supports and of groups that were handed over."""

    supports: int = item("The number of supports that were handed over.", 12)
    groups: int = item("The number of groups that were handed over.", 1)


LINKS = (
    Link(
        GroupResource,
        "members",
        GroupMemberResource,
        GroupMember.group_id == Group.id,
        "Its members that the caller may see, also former ones, in the order in which they joined.",
        order=(GroupMember.id,),
        inline=True,
    ),
    Link(
        GroupResource,
        "sessions",
        GroupSessionResource,
        GroupSession.group_id == Group.id,
        "Its sessions, in the order in which they were recorded.",
        order=(GroupSession.id,),
        paged=True,
        filters=(
            Filter("since", date, lambda day: GroupSession.held_on >= day, "Only sessions of this day or later."),
            Filter("until", date, lambda day: GroupSession.held_on <= day, "Only sessions of this day or before."),
        ),
    ),
    Link(
        GroupSessionResource,
        "sessions",
        SessionResource,
        and_(Session.group_session_id == GroupSession.id),
        "The sessions of the members that the caller may see.",
        order=(Session.id,),
    ),
    OneLink(
        SupportResource,
        "group",
        GroupResource,
        and_(GroupMember.support_id == Support.id, GroupMember.until_on.is_(None), Group.id == GroupMember.group_id),
        "The group in which its student is served now; null for a support alone.",
        through=GroupMember,
    ),
)

LISTINGS = (
    Listing(
        "groups",
        GroupResource,
        "Groups in the order in which they were formed.",
        filters=(
            of_school(Group.school_id),
            by_staff(
                Group.lead_id,
                Group.provider_id,
                name="caseload",
                description=f"Only groups that this person leads or provides: {NAMED}.",
                of_adult=("state", "unled"),
            ),
            by_area(Group.area_id),
            by_level(Group.level_id),
            Filter(
                "state",
                GroupState,
                lambda state: Group.state == state,
                "Only groups in this state.",
                GroupState.ACTIVE,
            ),
        ),
        flags=(
            Flag(
                "unled",
                "Only groups whose lead has left the roster, or the group's school, and which nobody has taken over.",
                on=IS_UNLED,
            ),
        ),
        changed_at=Group.updated_at,
    ),
)

COMMANDS = (
    Command(
        "form_group",
        service.form_group,
        GroupResource,
        "Forms a group and plans a support for each of its members, in one call.",
        "POST /groups",
        emits=(GROUP_FORMED, SUPPORT_PLANNED, SUPPORT_STARTED, *JUDGED),
        status=201,
        body=Body("NewGroup", "A group to be formed, with its members."),
    ),
    Command(
        "join_group",
        service.join_group,
        GroupResource,
        "Plans a support like the group's for another student, who is a member from then on.",
        "POST /groups/{group}/join",
        emits=(GROUP_CHANGED, SUPPORT_PLANNED, SUPPORT_STARTED, *JUDGED),
        body=Body("GroupJoin", "A student who joins a group."),
    ),
    Command(
        "leave_group",
        service.leave_group,
        GroupResource,
        "Ends a membership. The support continues individually.",
        "POST /groups/{group}/leave",
        emits=(GROUP_CHANGED,),
        body=Body("GroupLeave", "The member who leaves a group."),
    ),
    Command(
        "end_group",
        service.end_group,
        GroupResource,
        "Ends a group and all its memberships, also those of students that the caller does not see. The "
        "supports continue individually.",
        "POST /groups/{group}/end",
        emits=(GROUP_ENDED,),
        body=Body("GroupEnd", "The day on which a group ends."),
    ),
    Command(
        "hand_over_group",
        handover.hand_over_group,
        GroupResource,
        "Hands a group over to another lead or provider, with the supports of its members. It draws no phase line.",
        "POST /groups/{group}/handover",
        emits=(GROUP_CHANGED, SUPPORT_HANDED_OVER),
        body=Body("GroupHandover", "The new lead or provider of a group, and the reason."),
        more="The support of a member goes with the group if the same person has led, or provided, both.",
    ),
    Command(
        "hand_over_supports",
        handover.hand_over_supports,
        None,
        "Hands over every support and every group that a person leads or provides, and that the caller sees, to "
        "another person, in one call.",
        "POST /supports/handover",
        emits=(SUPPORT_HANDED_OVER, GROUP_CHANGED),
        value=HandedOverValue,
        answer="HandedOver",
        body=Body("NewHandovers", "The person whose supports are handed over, the person who takes them, and why."),
    ),
    Command(
        "end_support",
        service.end_support,
        SupportResource,
        "Ends a planned or active support, closes its open alert, and ends the membership in its group.",
        "POST /supports/{support}/end",
        emits=(SUPPORT_ENDED, RESPONSE_ENDED, GROUP_CHANGED),
        body=Body("SupportEnd", "The reason and the day on which a support ended."),
    ),
    Command(
        "record_group_sessions",
        sessions.record_group_sessions,
        GroupSessionResource,
        "Records sessions of a group, each independently. One record covers everybody who was present, and gives "
        "each member a session, with the minutes of this member.",
        "POST /groups/{group}/sessions",
        emits=JUDGED,
        bulk=sessions.MAX_BATCH,
        items="lessons",
        body=Body("NewGroupSessions", "Up to 100 sessions of one group."),
        row=attrgetter("session"),
    ),
)

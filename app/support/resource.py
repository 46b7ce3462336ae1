"""Declares what both APIs show of supports, phases, sessions and dosage, and their links."""

from datetime import date

from sqlalchemy import and_, any_, exists, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.permission import Can
from app.concern.models import Concern
from app.concern.resource import ConcernResource
from app.concern.unserved import IS_UNSERVED
from app.evidence.models import Score
from app.evidence.resource import BY_DATE, ScoreResource
from app.intervention.resource import InterventionResource
from app.playbook.resource import AreaResource, LevelResource, MeasureResource
from app.resources.declare import Link, Resource
from app.resources.fields import choice, computed, field, one, reference, references
from app.resources.listing import Filter, Flag
from app.resources.members import Id, One
from app.resources.terms import DISTRICT
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.support.changes.intensity import PhaseChange, PhaseVerb
from app.support.changes.rates import RateCheck
from app.support.delivery import SINCE, UNTIL, DosageValue, SessionResource
from app.support.models import Handover, Phase, PhaseGoal, Session, Support, SupportConcern, SupportMeasure
from app.support.queries import dosages_between
from app.support.rules import Starts, SupportState


class SupportResource(
    Resource[Support],
    kind="support",
    requires=Can.READ_SUPPORTS,
    about=Support.student_id,
    name="Support",
    get="support",
):
    """An intervention provided, or planned, for a student."""

    student: One[StudentResource] = one(Support.student_id, StudentResource, "The student that it is for.")
    intervention: str = field(
        Support.intervention, "The intervention, such as repeated reading.", "Repeated reading with feedback"
    )
    library_entry: One[InterventionResource] | None = one(
        Support.intervention_id,
        InterventionResource,
        "The version of the library's entry that it follows; null for free words.",
    )
    area: One[AreaResource] = one(Support.area_id, AreaResource, "The area of the support.")
    level: One[LevelResource] = one(Support.level_id, LevelResource, "Its present level.")
    measure: One[MeasureResource] | None = one(
        Support.measure_id,
        MeasureResource,
        "Its first measure; null for a support that is only reviewed.",
    )
    review_on: date | None = field(
        Support.review_on, "The next review of a support without a measure, in place of a goal."
    )
    state: SupportState = choice(Support.state, "The state of the support.")
    moved_on: date | None = field(
        Support.moved_on, "The day on which the student came with it from another school; null if it began here."
    )
    suspended_on: list[date] = field(
        Support.suspended_on, "The days on which it was suspended because its student had left, oldest first."
    )
    resumed_on: list[date] = field(Support.resumed_on, "The days on which it was resumed, oldest first.")
    unled_since: date | None = field(
        Support.unled_since,
        "The day since which its lead has been missing from the roster, or from the student's schools, without a "
        "handover.",
    )
    lead: One[StaffResource] | None = one(Support.lead_id, StaffResource, "The person who leads the support.")
    provider: One[StaffResource] | None = one(
        Support.provider_id, StaffResource, "The person who provides the support."
    )
    starts_on: date = field(Support.starts_on, "The first day, planned or real.")
    starts: Starts = choice(Support.starts, "Whether it starts by itself, or when somebody starts it.")
    ends_on: date | None = field(Support.ends_on, "The last day, once it has ended.")
    ended_because: str | None = field(Support.ended_because, "Why it ended.", "The goal is met.")
    playbook_id: Id = reference(
        Support.playbook_version_id, "playbook", "The version of the playbook it follows.", rest=None
    )
    version: int = field(Support.version, "The number of changes; the ETag.", 1)
    concern_ids: list[Id] = references(
        select(func.array_agg(aggregate_order_by(SupportConcern.concern_id, SupportConcern.concern_id)))
        .where(SupportConcern.district_id == DISTRICT, SupportConcern.support_id == Support.id)
        .scalar_subquery(),
        "concern",
        "The ids of the concerns that it answers.",
        rest="concerns",
        graphql=None,
    )
    dosage: DosageValue = computed(
        dosages_between,
        (Support.id,),
        "How much of it was delivered; by default, in its last phase.",
        arguments=(SINCE, UNTIL),
        requires=(Can.READ_SUPPORTS,),
        rest=None,
    )


class PhaseResource(
    Resource[Phase],
    kind="phase",
    requires=Can.READ_SUPPORTS,
    about=Phase.student_id,
    discloses="support",
    name="Phase",
):
    """The part of a support between two changes. Its aimline is a straight line from the baseline to the goal."""

    support_id: Id = reference(Phase.support_id, "support", "The support.", rest=None)
    number: int = field(Phase.number, "Its number within the support.", 1)
    level: One[LevelResource] = one(Phase.level_id, LevelResource, "The level of support in this phase.")
    begins_on: date = field(Phase.begins_on, "The first day.")
    ends_on: date | None = field(Phase.ends_on, "The last day, exclusive.")
    baseline: float | None = field(
        Phase.baseline, "Where the aimline begins, in the measure's unit; null without a measure.", 42.0
    )
    goal: float | None = field(
        Phase.goal, "The value at which the aimline ends, in the measure's unit; null without a measure.", 70.0
    )
    review_on: date | None = field(Phase.review_on, "The review date of a phase without a measure.")
    goal_on: date | None = field(Phase.goal_on, "The day on which the aimline reaches the goal.")
    intervention: str = field(Phase.intervention, "The intervention in this phase.", "Repeated reading with feedback")
    library_entry: One[InterventionResource] | None = one(
        Phase.intervention_id, InterventionResource, "The version of the library's entry in this phase."
    )
    group_size: int | None = field(
        Phase.group_size, "The number of students who are served together, if it is planned.", 4
    )
    minutes_per_session: int = field(Phase.minutes_per_session, "The planned minutes of a session.", 30)
    sessions_per_week: int = field(Phase.sessions_per_week, "The planned sessions of a week.", 4)
    because: str = field(Phase.because, "Why the phase began.", "The plan")
    verb: PhaseVerb = choice(Phase.verb, "What the team decided when the phase began.")
    changes: list[str] = field(
        Phase.changes,
        "What distinguishes the phase from the one before it: " + ", ".join(f"`{code}`" for code in PhaseChange) + ".",
        ["smaller_group"],
    )
    required_rate: float | None = field(
        Phase.required_rate,
        "The growth that the goal required when it was set, in the measure's units a week of instruction; negative "
        "where lower scores are better.",
        1.0,
    )
    required_rate_before: float | None = field(
        Phase.required_rate_before, "The growth that the phase before it required; null in the first phase.", 1.0
    )
    realistic_rate: float | None = field(
        Phase.realistic_rate,
        "The most growth that the norms called realistic for the measure and the student's grade; null where no norm "
        "was known.",
        1.0,
    )
    rate_check: RateCheck | None = choice(
        Phase.rate_check,
        "Whether the required rate was realistic, was confirmed above the norms, or could not be compared because no "
        "norm is known for the measure and grade; null in phases from before it was recorded.",
    )
    benchmark_id: Id | None = reference(
        Phase.benchmark_id, "benchmark", "The norm with which the required rate was compared.", rest="benchmark"
    )


class SupportMeasureResource(
    Resource[SupportMeasure],
    requires=Can.READ_SUPPORTS,
    about=SupportMeasure.student_id,
    discloses="support",
    name="SupportMeasure",
):
    """A measure by which a support is followed in addition to its first one. It has a goal in each phase."""

    measure: One[MeasureResource] = one(SupportMeasure.measure_id, MeasureResource, "The measure.")
    followed_from: date = field(SupportMeasure.followed_from, "The first day on which it was followed.")
    followed_until: date | None = field(
        SupportMeasure.followed_until, "The first day on which it was no longer followed; null while it is followed."
    )


class PhaseGoalResource(
    Resource[PhaseGoal],
    requires=Can.READ_SUPPORTS,
    about=PhaseGoal.student_id,
    discloses="support",
    name="PhaseGoal",
):
    """The goal of an additional measure in a phase. Its aimline is a straight line from the baseline to the goal."""

    phase_id: Id = reference(PhaseGoal.phase_id, "phase", "The phase.", rest="phase")
    begins_on: date = field(PhaseGoal.begins_on, "The first day of its aimline: that of the phase, or a later one.")
    baseline: float = field(PhaseGoal.baseline, "Where the aimline begins, in the measure's unit.", 9.0)
    goal: float = field(PhaseGoal.goal, "The value at which the aimline ends, in the measure's unit.", 18.0)
    goal_on: date = field(PhaseGoal.goal_on, "The day on which the aimline reaches the goal.")
    required_rate: float | None = field(
        PhaseGoal.required_rate, "The growth that the goal required when it was set, a week of instruction.", 0.5
    )
    realistic_rate: float | None = field(
        PhaseGoal.realistic_rate, "The most growth that the norms called realistic; null where no norm was known.", 0.6
    )
    rate_check: RateCheck | None = choice(
        PhaseGoal.rate_check, "Whether the required rate was realistic, was confirmed, or could not be compared."
    )


class HandoverResource(
    Resource[Handover],
    kind="handover",
    requires=Can.READ_SUPPORTS,
    about=Handover.student_id,
    discloses="support",
    name="Handover",
    node=False,
):
    """A change of the person who leads or provides a support.

    It begins no new phase, so a chart draws no line for it.
    """

    handed_over_on: date = field(Handover.handed_over_on, "The day of the handover.")
    lead_before: One[StaffResource] | None = one(Handover.lead_before, StaffResource, "The person who led until then.")
    lead: One[StaffResource] | None = one(Handover.lead_id, StaffResource, "The person who has led it since then.")
    provider_before: One[StaffResource] | None = one(
        Handover.provider_before, StaffResource, "The person who provided the support until then."
    )
    provider: One[StaffResource] | None = one(
        Handover.provider_id, StaffResource, "The person who has provided the support since then."
    )
    because: str = field(Handover.because, "The reason.", "Ms. Lopez has moved.")
    made_by: One[StaffResource] | None = one(
        Handover.made_by, StaffResource, "The person who recorded it, if a person did."
    )


LINKS = (
    Link(
        StudentResource,
        "supports",
        SupportResource,
        Support.student_id == Person.id,
        "Every support of the student, oldest first.",
        order=(Support.id,),
    ),
    Link(
        ConcernResource,
        "supports",
        SupportResource,
        (SupportConcern.concern_id == Concern.id) & (Support.id == SupportConcern.support_id),
        "The supports that answer it.",
        through=SupportConcern,
        order=(Support.id,),
    ),
    Link(
        SupportResource,
        "concerns",
        ConcernResource,
        (SupportConcern.support_id == Support.id) & (Concern.id == SupportConcern.concern_id),
        "The concerns that it answers.",
        through=SupportConcern,
        order=(Concern.id,),
        requires=(Can.READ_SUPPORTS,),
    ),
    Link(
        SupportResource,
        "phases",
        PhaseResource,
        Phase.support_id == Support.id,
        "Its phases, in order.",
        order=(Phase.number,),
        inline=True,
    ),
    Link(
        SupportResource,
        "measures",
        SupportMeasureResource,
        SupportMeasure.support_id == Support.id,
        "Its additional measures, present and former, in addition to its first one.",
        order=(SupportMeasure.id,),
        inline=True,
        assumed=2,
    ),
    Link(
        SupportMeasureResource,
        "goals",
        PhaseGoalResource,
        PhaseGoal.support_measure_id == SupportMeasure.id,
        "Its goals, one for each phase in which it had one, oldest first.",
        order=(PhaseGoal.id,),
        inline=True,
        assumed=3,
    ),
    Link(
        SupportResource,
        "handovers",
        HandoverResource,
        Handover.support_id == Support.id,
        "Its handovers, oldest first.",
        order=(Handover.id,),
    ),
    Link(
        SupportResource,
        "scores",
        ScoreResource,
        (Score.student_id == Support.student_id)
        & (Score.measure_id == any_(func.array_append(Support.more_measures, Support.measure_id))),
        "The student's scores in each of its present measures, by date.",
        order=BY_DATE,
        most=10_000,
        assumed=50,
    ),
    Link(
        SupportResource,
        "sessions",
        SessionResource,
        Session.support_id == Support.id,
        "Its sessions, in the order in which they were recorded.",
        order=(Session.id,),
        paged=True,
        filters=(
            Filter("since", date, lambda day: Session.held_on >= day, "Only sessions of this day or later."),
            Filter("until", date, lambda day: Session.held_on <= day, "Only sessions of this day or before."),
        ),
    ),
)

FLAGS = (
    (
        "concerns",
        Flag(
            "unserved",
            "Only accepted concerns without an active support; this needs `support:read` too. Concerns about students "
            "who left are not among them.",
            on=and_(
                IS_UNSERVED,
                ~exists().where(
                    Person.district_id == DISTRICT, Person.id == Concern.student_id, Person.removed_at.is_not(None)
                ),
            ),
            requires=(Can.READ_SUPPORTS,),
        ),
    ),
)
"""The flags that this package adds to lists of other packages, keyed by the name of the list."""

"""Declares the public shapes of verdicts and calibrations, and the list of supports with its filters by verdict."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, any_, exists, func, or_

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.filters import by_area, by_level
from app.playbook.resource import MeasureResource
from app.resources.declare import Link, OneLink, Resource
from app.resources.fields import choice, field, one, reference, references, stored
from app.resources.listing import Filter, Flag, Listing, Sort
from app.resources.members import Id, One
from app.resources.terms import DISTRICT
from app.resources.values import Figures, Value, item
from app.response.models import CalibrationRow, ResponseState, VerdictRow
from app.response.rules.verdict import NonresponseKind, State
from app.roster.filters import NAMED, by_school, by_staff, by_student
from app.roster.lookup import today_of
from app.support.models import Phase, PhaseGoal, Support
from app.support.resource import SupportResource
from app.support.rules import GOAL_NOTICE, SupportState
from app.team.filters import by_team


class ReasonValue(Value):
    """A reason for a verdict: a stable code, and the numbers on which the reason is based."""

    code: str = item("The code.", "last_points_below")
    values: Figures = item("The numbers.", {"points": 4})


class VerdictResource(
    Resource[VerdictRow],
    kind="verdict",
    requires=Can.READ_VERDICTS,
    about=VerdictRow.student_id,
    name="Verdict",
    get="verdict",
):
    """The conclusion of a decision rule about the scores of a phase. It informs a team and decides nothing."""

    support_id: Id = reference(VerdictRow.support_id, "support", "The support.", rest="support")
    phase_id: Id = reference(VerdictRow.phase_id, "phase", "The phase.", rest="phase")
    measure: One[MeasureResource] = one(VerdictRow.measure_id, MeasureResource, "The measure of the judged scores.")
    measures: int = field(
        VerdictRow.measures, "The number of measures of the support that share the stated false-alarm rate.", 1
    )
    number: int = field(VerdictRow.number, "Its number among the verdicts on the support.", 3)
    state: State = choice(
        VerdictRow.state,
        "What the rule concludes about the series. `responding` means that it raises no alarm; `on_pace` states how "
        "likely it is that growth keeps pace. `off_track` is the alarm at the stated false-alarm rate. "
        "`not_responding` is the alarm where growth is more likely than not under half of the required rate.",
    )
    kind: NonresponseKind | None = choice(
        VerdictRow.kind, "How the student does not respond; only with `not_responding`."
    )
    sentence: str = field(
        VerdictRow.sentence,
        "One sentence for a teacher, made from the numbers.",
        "The last four scores lie below the aimline.",
    )
    label: str = field(VerdictRow.label, "The verdict in a few words, for screens.", "Off track")
    slow: float | None = field(
        VerdictRow.slow,
        "The calibrated probability that growth is now under half of the required rate. It adds to one with "
        "`short` and `on_pace`. All three are null under three scores, without an SEM, and for other measures.",
        0.41,
    )
    short: float | None = field(
        VerdictRow.short,
        "The calibrated probability of growth from half of the required rate to under all of it.",
        0.53,
    )
    on_pace: float | None = field(
        VerdictRow.on_pace, "The calibrated probability of growth at the required rate or above.", 0.06
    )
    because: list[ReasonValue] = stored(VerdictRow.because, "The reasons.")
    statistic: float | None = field(VerdictRow.statistic, "The rule's own statistic.", 4.0)
    threshold: float | None = field(VerdictRow.threshold, "The rule's own threshold.", 4.0)
    rate: float | None = field(VerdictRow.rate, "The present growth, in the measure's units a week.", 0.4)
    rate_low: float | None = field(
        VerdictRow.rate_low, "With `rate_high`: the middle 80 % of the plausible values of the rate.", 0.1
    )
    rate_high: float | None = field(VerdictRow.rate_high, "See `rate_low`.", 0.7)
    odds: float | None = field(VerdictRow.odds, "How many times likelier slow growth is than growth on pace.", 12.0)
    required_rate: float = field(
        VerdictRow.required_rate, "The growth that the aimline requires, in the measure's units a week.", 1.5
    )
    change_week: int | None = field(VerdictRow.change_week, "The instructional week around which growth slowed.", 9)
    change_on: date | None = field(VerdictRow.change_on, "The Monday of that week.")
    last_on: date | None = field(VerdictRow.last_on, "The date of the last score that the verdict took into account.")
    stated_far: float | None = field(
        VerdictRow.stated_far,
        "The rule's stated false-alarm rate: the share of simulated responders that it ever flags in 26 weeks. It "
        "holds for all measures of the support together; null where this was not measured.",
        0.08,
    )
    calibration_id: Id | None = reference(
        VerdictRow.calibration_id,
        "calibration",
        "The calibration whose estimates the verdict used; null for the published defaults.",
        rest="calibration",
    )
    sem: float | None = field(VerdictRow.sem, "The measure's standard error of measurement at that time.", 5.5)
    retracts_id: Id | None = reference(
        VerdictRow.retracts, "verdict", "The verdict whose alert this one retracts.", rest="retracts"
    )
    rule: str = field(VerdictRow.rule, "The rule.", "four-point")
    rule_version: int = field(VerdictRow.rule_version, "The version of the rule.", 1)
    parameters: Figures = stored(VerdictRow.parameters, "The rule's parameters, defaults included.")
    score_ids: list[Id] = references(VerdictRow.score_ids, "score", "The scores of the phase, in order.", rest="scores")
    playbook_id: Id = reference(
        VerdictRow.playbook_version_id, "playbook", "The version of the playbook.", rest="playbook"
    )
    judged_at: datetime = field(VerdictRow.judged_at, "When it was judged.")


class CalibrationResource(
    Resource[CalibrationRow], kind="calibration", requires=Can.READ_PLAYBOOK, name="Calibration", node=False
):
    """Estimates for a measure, made from the district's own scores, for all grades together or for one grade.

    A calibration never changes; a new one replaces it.
    """

    number: int = field(CalibrationRow.number, "The number of the calibration run that made it.", 2)
    measure: One[MeasureResource] = one(CalibrationRow.measure_id, MeasureResource, "The measure.")
    grade: str | None = field(CalibrationRow.grade, "The grade; null for all grades.", "03")
    made_at: datetime = field(CalibrationRow.made_at, "When it was made.")
    series: int = field(CalibrationRow.series, "The number of series that it is made from.", 240)
    scores: int = field(CalibrationRow.scores, "The number of their scores.", 3120)
    published_defaults: bool = field(
        CalibrationRow.published, "Whether there was too little data, so that the published defaults apply."
    )
    observed: float | None = field(
        CalibrationRow.report["observed"].as_float(),
        "The share of these series that are flagged at a stated rate of .10.",
        0.12,
    )
    expected: float | None = field(
        CalibrationRow.report["expected"].as_float(),
        "The share that the estimated model expects; no true rate is claimed.",
        0.1,
    )
    estimates: Figures = stored(CalibrationRow.report["estimates"], "The estimates by name.")


class GoalDate(StrEnum):
    """Whether the date of a support's present goal is near or past."""

    DUE = "due"
    PASSED = "passed"


async def _last_goal_date(work: Work, name: str, pointer: str | None) -> date:
    """Converts the filter value `due` or `passed` to a day. A support matches if its goal date is not after this day.

    For `due`, the day is a little after today, so that goal dates that are near match too.
    """
    today = await _read_today(work)
    return today + GOAL_NOTICE if name == GoalDate.DUE else today


def _has_goal_by(day: Any) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if a support's current phase has a goal date on or before `day`."""
    return exists().where(
        Phase.district_id == DISTRICT, Phase.support_id == Support.id, Phase.ends_on.is_(None), Phase.goal_on <= day
    )


def _has_further_goal_by(day: Any) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if an additional measure of a support has a goal date on or before `day`.

    The goal date is that in the support's current phase.
    """
    return and_(
        func.cardinality(Support.more_measures) > 0,
        exists().where(
            PhaseGoal.district_id == DISTRICT,
            PhaseGoal.support_id == Support.id,
            PhaseGoal.goal_on <= day,
            PhaseGoal.measure_id == any_(Support.more_measures),
            Phase.district_id == DISTRICT,
            Phase.id == PhaseGoal.phase_id,
            Phase.ends_on.is_(None),
        ),
    )


@needs(Can.READ_SUPPORTS)
async def _read_today(work: Work) -> date:
    return await today_of(work)


LINKS = (
    OneLink(
        SupportResource,
        "verdict",
        VerdictResource,
        (ResponseState.support_id == Support.id) & (VerdictRow.id == ResponseState.verdict_id),
        "The verdict in force: the most serious of those on its measures. Null before the support is judged.",
        through=ResponseState,
        inline=True,
    ),
    Link(
        SupportResource,
        "measure_verdicts",
        VerdictResource,
        (ResponseState.support_id == Support.id) & (VerdictRow.id == any_(ResponseState.verdict_ids)),
        "The verdict in force on each of its measures.",
        through=ResponseState,
        order=(VerdictRow.id,),
        assumed=2,
    ),
    Link(
        SupportResource,
        "verdicts",
        VerdictResource,
        VerdictRow.support_id == Support.id,
        "Every verdict, oldest first.",
        order=(VerdictRow.id,),
        paged=True,
    ),
)

LISTINGS = (
    Listing(
        "supports",
        SupportResource,
        "Supports in the order in which they were planned.",
        filters=(
            by_student(Support.student_id),
            by_staff(
                Support.lead_id,
                Support.provider_id,
                name="caseload",
                description=f"Only supports of this person's caseload, as lead or provider: {NAMED}.",
                of_adult=("state", "verdict", "goal_date", "review_by", "unled", "went_well", "last_verdict"),
            ),
            by_school(Support),
            by_team(Support.student_id),
            by_area(Support.area_id),
            by_level(Support.level_id),
            Filter(
                "state",
                SupportState,
                lambda state: Support.state == state,
                "Only supports in this state.",
                SupportState.ACTIVE,
            ),
            Filter(
                "review_by",
                date,
                lambda day: and_(Support.review_on <= day, Support.state == SupportState.ACTIVE),
                "Only active supports without a measure that are to be reviewed on this day or before.",
                date(2026, 12, 1),
            ),
            Filter(
                "verdict",
                State,
                lambda state: exists().where(
                    ResponseState.district_id == DISTRICT,
                    ResponseState.support_id == Support.id,
                    ResponseState.state == state,
                ),
                "Only supports whose verdict in force has this state.",
                State.NOT_RESPONDING,
            ),
            Filter(
                "goal_date",
                GoalDate,
                lambda day: and_(
                    Support.state == SupportState.ACTIVE, or_(_has_goal_by(day), _has_further_goal_by(day))
                ),
                "Only active supports about which a decision is due: `due` where the date of a goal is at most two "
                "weeks away or has come, `passed` where it has come. The goal may be that of any of its measures. A "
                "new goal, the end of the measure, or the support's end, is the decision.",
                GoalDate.DUE,
                resolve=_last_goal_date,
                bound=date,
            ),
        ),
        sorts=(
            Sort(
                "last_verdict",
                (Support.last_verdict_at, Support.id),
                "By the instant of the support's last verdict; a support without one comes first.",
            ),
        ),
        flags=(
            Flag(
                "came_with_student",
                "Only supports with which their students came from another school.",
                on=Support.moved_on.is_not(None),
            ),
            Flag(
                "unled",
                "Only supports whose lead has left the roster, or the student's schools, and which nobody has taken "
                "over.",
                on=and_(Support.unled_since.is_not(None), Support.state.in_(("planned", "active"))),
            ),
        ),
        schools=Support,
        changed_at=Support.updated_at,
        requires=(Can.READ_VERDICTS,),
    ),
    Listing(
        "calibrations",
        CalibrationResource,
        "The district's calibrations, in the order in which they were made.",
        changed_at=CalibrationRow.made_at,
    ),
)

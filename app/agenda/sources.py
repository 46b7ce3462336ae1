"""Selects the agenda items that follow from the data, in one statement for all reasons and all students of a team.

Each function in `SOURCES` returns a query for one reason, such as overdue scores; the queries have the same columns
(see `select_reason`). Each row is an item: its kind, the record that it is about, the code of its reason, the day since
which the reason has existed, and the ids of the records that explain it.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Date,
    ScalarSelect,
    Select,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.action.models import ActionItem
from app.action.rules import ActionState
from app.agenda.rules import AgendaItemKind
from app.agenda.scope import AgendaScope, select_reason
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.decision.models import Decision
from app.hypothesis.models import Hypothesis
from app.response.models import ResponseState, VerdictRow
from app.response.upkeep.overdue import FIRST, FURTHER, checks_overdue, last_check
from app.roster.calendar import days_of_instruction
from app.signal.models import Signal
from app.signal.rules import SignalKind, SignalState
from app.signal.stalls.models import CoreStall
from app.signal.stalls.rules import StallState
from app.support.models import Phase, PhaseGoal, Support, SupportMeasure
from app.support.rules import GOAL_NOTICE
from app.team.models import Team, TeamScope, in_force_on

STALL_ON_AGENDAS: Final = timedelta(days=120)
"""How long an accepted core stall stays on agendas if no team discusses it.

By then, the next screening window should have been evaluated.
"""
ALARMS: Final = (AgendaItemKind.OFF_TRACK, AgendaItemKind.NOT_RESPONDING)
VERDICTS: Final = (*ALARMS, AgendaItemKind.UNDER_DELIVERED)
"""The verdicts that stay on agendas until the team has made a decision about the support."""
SAID_OTHERWISE: Final = (SignalKind.AHEAD_OF_GOAL, SignalKind.UNMET_GOAL)
"""The kinds of signals that do not become agenda items.

The support that such a signal is about has another item already, because its goal is met or its goal date has passed.
"""


def _new_concerns(scope: AgendaScope) -> Select[Any]:
    return select_reason(
        Concern, ("concern", Concern.id), AgendaItemKind.NEW_CONCERN, Concern.raised_on, records={"concern": Concern.id}
    ).where(scope.serves(Concern), Concern.state == ConcernState.RAISED)


def _unserved_concerns(scope: AgendaScope) -> Select[Any]:
    days = days_of_instruction(scope.district_id, Concern.school_ids, Concern.unserved_order, scope.today)
    return select_reason(
        Concern,
        ("concern", Concern.id),
        AgendaItemKind.UNSERVED,
        Concern.unserved_order,
        records={"concern": Concern.id},
    ).where(scope.serves(Concern), Concern.unserved_since.is_not(None), days >= scope.days["concern_unserved"])


def _signals(scope: AgendaScope) -> Select[Any]:
    return select_reason(
        Signal,
        ("signal", Signal.id),
        case(
            (Signal.kind == SignalKind.READY_TO_FADE, str(AgendaItemKind.READY_TO_FADE)),
            else_=str(AgendaItemKind.SIGNAL),
        ),
        Signal.seen_on,
        basis=Signal.digest,
        code=Signal.kind,
        records={
            "score": Signal.score_id,
            "screening_window": Signal.window_id,
            "support": Signal.support_id,
            "class": Signal.class_id,
            "result": Signal.result_ids,
            "attendance_record": Signal.attendance_ids,
            "incident": Signal.incident_ids,
        },
    ).where(scope.serves(Signal), Signal.state == SignalState.SUGGESTED, Signal.kind.not_in(SAID_OTHERWISE))


def _core_stalls(scope: AgendaScope) -> Select[Any]:
    """Returns the core stalls that concern the team, were accepted and are not too old.

    A core stall is a grade in which fewer children reach a benchmark than before. It concerns the team if the team
    serves this grade at the stall's school. A stall of the whole district concerns a team if the team has no school and
    serves the grade.
    """
    serves_grade = (
        select(TeamScope.id)
        .join(Team, and_(Team.district_id == scope.district_id, Team.id == TeamScope.team_id))
        .where(
            TeamScope.district_id == scope.district_id,
            TeamScope.team_id == scope.team_id,
            TeamScope.grade == CoreStall.grade,
            or_(
                TeamScope.served_school_id == CoreStall.school_id,
                and_(CoreStall.school_id.is_(None), Team.school_id.is_(None)),
            ),
            in_force_on(TeamScope, scope.today),
        )
        .correlate(CoreStall)
        .exists()
    )
    return select_reason(
        CoreStall,
        ("core_stall", CoreStall.id),
        AgendaItemKind.CORE_STALL,
        CoreStall.seen_on,
        basis=CoreStall.digest,
        records={"core_stall": CoreStall.id, "screening_window": CoreStall.window_id},
    ).where(
        CoreStall.district_id == scope.district_id,
        CoreStall.state == StallState.ACCEPTED,
        CoreStall.seen_on > scope.today - literal(STALL_ON_AGENDAS.days),
        serves_grade,
    )


def _verdicts(scope: AgendaScope) -> Select[Any]:
    """Returns the supports with a verdict that the team should discuss, one item for each support.

    If the team should have decided about an alarm by now, the item has two reasons: the alarm and the overdue decision.
    Its kind is `decision_due` or the kind of the alarm, whichever comes first on agendas.
    """
    is_open = or_(
        and_(ResponseState.state == AgendaItemKind.GOAL_MET, ~_ready_to_fade(scope)),
        and_(ResponseState.state.in_(VERDICTS), ~_decided(scope)),
    )
    is_due = _is_decision_due(scope)
    due: ColumnElement[str] = literal(str(AgendaItemKind.DECISION_DUE), Text)
    outranked = [state for state in ALARMS if scope.comes_before(AgendaItemKind.DECISION_DUE, state)]
    return (
        select_reason(
            Support,
            ("support", Support.id),
            case((and_(is_due, ResponseState.state.in_(outranked)), due), else_=ResponseState.state),
            ResponseState.since_on,
            code=case((is_due, ResponseState.state + literal(" ", Text) + due), else_=ResponseState.state),
            records={"verdict": ResponseState.verdict_id},
        )
        .join(ResponseState, _of_support(scope, ResponseState))
        .where(scope.serves(Support), Support.state == "active", is_open)
    )


def _is_decision_due(scope: AgendaScope) -> ColumnElement[bool]:
    """Returns the condition that the team should have made a decision about an alarm by now.

    The playbook's reminder `decision_overdue` sets the number of days of instruction after which a decision is due. If
    the reminder is turned off, the condition is always false.
    """
    if "decision_overdue" not in scope.days:
        return false()
    days = days_of_instruction(scope.district_id, Support.school_ids, ResponseState.since_on, scope.today)
    return and_(ResponseState.state.in_(ALARMS), days >= scope.days["decision_overdue"])


def _ready_to_fade(scope: AgendaScope) -> ColumnElement[bool]:
    """Returns the condition that Aimline has suggested to fade the support (an open signal `READY_TO_FADE`).

    Such a suggestion is an agenda item of its own. It implies that the goal is met, so the support's verdict `goal_met`
    is not added as a second item.
    """
    return (
        select(Signal.id)
        .where(
            Signal.district_id == scope.district_id,
            Signal.student_id == Support.student_id,
            Signal.support_id == Support.id,
            Signal.kind == SignalKind.READY_TO_FADE,
            Signal.state == SignalState.SUGGESTED,
        )
        .correlate(Support)
        .exists()
    )


def _goals(scope: AgendaScope) -> Select[Any]:
    """Returns the supports whose goal date is near or has come.

    If the measures of a support have different goal dates, the earliest date of a goal that is not met counts. A
    support without a goal is returned if its review date has come.
    """
    met_by_first = and_(func.cardinality(Support.more_measures) > 0, _is_met(scope, Support.measure_id))
    first_goal_on = case((met_by_first, null()), else_=Phase.goal_on)
    goal_on = func.least(first_goal_on, _further_goal_on(scope), type_=Date)
    day = func.coalesce(goal_on, Support.review_on, type_=Date)
    has_come = day <= scope.today
    code = case(
        (Phase.goal_on.is_(None), literal("review_due", Text)),
        (has_come, literal("goal_passed", Text)),
        else_=literal("goal_due", Text),
    )
    is_near = and_(Phase.goal_on.is_not(None), day <= scope.today + literal(GOAL_NOTICE.days))
    return (
        select_reason(
            Support,
            ("support", Support.id),
            case((has_come, str(AgendaItemKind.GOAL_PASSED)), else_=str(AgendaItemKind.GOAL_DUE)),
            day,
            code=code,
            records={"phase": Phase.id},
        )
        .join(Phase, and_(_of_support(scope, Phase), Phase.ends_on.is_(None)))
        .outerjoin(ResponseState, _of_support(scope, ResponseState))
        .where(
            scope.serves(Support),
            Support.state == "active",
            or_(has_come, is_near),
            or_(ResponseState.state.is_(None), ResponseState.state != "goal_met", Phase.goal_on.is_(None)),
        )
    )


def _further_goal_on(scope: AgendaScope) -> ScalarSelect[date]:
    """Returns SQL for the earliest goal date among the additional measures of a support, in its present phase.

    Measures that have met their goals are left out.
    """
    followed = and_(_of_support(scope, SupportMeasure), SupportMeasure.id == PhaseGoal.support_measure_id)
    return (
        select(func.min(PhaseGoal.goal_on))
        .join(SupportMeasure, followed)
        .where(
            PhaseGoal.district_id == scope.district_id,
            PhaseGoal.phase_id == Phase.id,
            SupportMeasure.followed_until.is_(None),
            ~_is_met(scope, PhaseGoal.measure_id),
        )
        .correlate(Support, Phase, ResponseState)
        .scalar_subquery()
    )


def _is_met(scope: AgendaScope, measure_id: Any) -> ColumnElement[bool]:
    """Returns the condition that the goal of a support by this measure is met, by the verdict in force."""
    return (
        select(VerdictRow.id)
        .where(
            VerdictRow.district_id == scope.district_id,
            VerdictRow.id == any_(ResponseState.verdict_ids),
            VerdictRow.measure_id == measure_id,
            VerdictRow.state == AgendaItemKind.GOAL_MET,
        )
        .correlate(Support, PhaseGoal, ResponseState)
        .exists()
    )


def _overdue_checks(scope: AgendaScope) -> Select[Any]:
    """Returns the supports with measures that have had no score for too long, one item for each support."""
    arms = []
    for of_measure in (FIRST, FURTHER):
        since = last_check(scope.district_id, of_measure)
        arm = select_reason(
            Support,
            ("support", Support.id),
            AgendaItemKind.CHECK_OVERDUE,
            since,
            records={"measure": of_measure.measure},
        )
        for table in of_measure.tables:
            arm = arm.join(table, _of_support(scope, table))
        overdue = checks_overdue(scope.district_id, of_measure, since, scope.days["score_overdue"], scope.today)
        arms.append(arm.where(scope.serves(Support), *overdue))
    checks = union_all(*arms).subquery("overdue_check")
    first: Any = func.min(checks.c.since, type_=Date)
    combined = {
        "basis": cast(first, Text),
        "since": first,
        "records": func.string_agg(checks.c.records, aggregate_order_by(literal(" ", Text), checks.c.records)),
    }
    columns = [combined[each.name].label(each.name) if each.name in combined else each for each in checks.c]
    return select(*columns).group_by(*(each for each in checks.c if each.name not in combined))


def _unled_supports(scope: AgendaScope) -> Select[Any]:
    since = func.coalesce(Support.unled_since, scope.today, type_=Date)
    return select_reason(
        Support, ("support", Support.id), AgendaItemKind.UNLED, since, records={"support": Support.id}
    ).where(scope.serves(Support), Support.unled_since.is_not(None), Support.state.in_(("planned", "active")))


def _due_hypotheses(scope: AgendaScope) -> Select[Any]:
    return select_reason(
        Hypothesis,
        ("hypothesis", Hypothesis.id),
        AgendaItemKind.HYPOTHESIS_DUE,
        Hypothesis.due_since,
        code=func.coalesce(Hypothesis.due_because, "", type_=Text),
        records={"hypothesis": Hypothesis.id, "support": Hypothesis.support_id},
    ).where(scope.serves(Hypothesis), Hypothesis.due_because.is_not(None))


def _due_actions(scope: AgendaScope) -> Select[Any]:
    subject = ("action_item", ActionItem.id)
    return select_reason(
        ActionItem, subject, AgendaItemKind.ACTION_DUE, ActionItem.due_on, records={"action_item": ActionItem.id}
    ).where(
        ActionItem.district_id == scope.district_id,
        ActionItem.team_id == scope.team_id,
        ActionItem.state == ActionState.OPEN,
        ActionItem.due_on <= scope.today,
        or_(ActionItem.student_id.is_(None), scope.serves(ActionItem)),
    )


def _of_support(scope: AgendaScope, model: Any) -> ColumnElement[bool]:
    return and_(model.district_id == scope.district_id, model.support_id == Support.id)


def _decided(scope: AgendaScope) -> ColumnElement[bool]:
    """Returns the condition that a decision about the support was made since the support got its present verdict."""
    return (
        select(Decision.id)
        .where(
            Decision.district_id == scope.district_id,
            Decision.support_id == Support.id,
            Decision.created_at >= ResponseState.since,
        )
        .correlate(Support, ResponseState)
        .exists()
    )


SOURCES: Final[tuple[tuple[Callable[[AgendaScope], Select[Any]], str | None], ...]] = (
    (_new_concerns, None),
    (_unserved_concerns, "concern_unserved"),
    (_signals, None),
    (_core_stalls, None),
    (_verdicts, None),
    (_goals, None),
    (_overdue_checks, "score_overdue"),
    (_unled_supports, None),
    (_due_hypotheses, None),
    (_due_actions, None),
)
"""The sources, each with the name of a reminder of the playbook, or with None.

The reminder sets the number of days after which the source produces an item. If the reminder is set to 0 days, the
source is turned off.
"""


def sources_in_force(scope: AgendaScope) -> list[Select[Any]]:
    """Returns the query for each reason to put something on an agenda.

    The reasons that the playbook has turned off are left out.
    """
    return [source(scope) for source, reminder in SOURCES if reminder is None or reminder in scope.days]

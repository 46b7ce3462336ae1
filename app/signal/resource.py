"""Declares what both APIs show of signals, with the commands on them."""

from datetime import date, datetime
from operator import attrgetter

from sqlalchemy import and_, exists, or_

from app.access.permission import Can
from app.concern.resource import ConcernResource
from app.events.catalogue import (
    CONCERN_ACCEPTED,
    CONCERN_RAISED,
    SIGNAL_ACCEPTED,
    SIGNAL_DISMISSED,
    SIGNAL_MERGED,
)
from app.evidence.resource import ScoreResource
from app.evidence.screening.resource import ScreeningWindowResource
from app.playbook.filters import by_area
from app.playbook.resource import AreaResource
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, reference, references
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import Id, One
from app.resources.terms import DISTRICT
from app.response.models import ResponseState
from app.response.rules.verdict import State
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.roster.schools import ClassResource
from app.signal import service
from app.signal.models import Signal
from app.signal.rule_resource import SignalRuleResource
from app.signal.rules import SignalKind, SignalState
from app.support.models import Support
from app.support.resource import SupportResource
from app.support.rules import SupportState
from app.team.filters import by_team


class SignalResource(
    Resource[Signal], kind="signal", requires=Can.READ_SIGNALS, about=Signal.student_id, name="Signal", get="signal"
):
    """A finding of a rule in a student's data, suggested to a team as a concern or as a success."""

    student: One[StudentResource] = one(Signal.student_id, StudentResource, "The student.")
    rule: One[SignalRuleResource] = one(
        Signal.rule_id, SignalRuleResource, "The version of the rule that suggested it."
    )
    kind: SignalKind = choice(Signal.kind, "What the rule has found.")
    area: One[AreaResource] = one(Signal.area_id, AreaResource, "The area.")
    state: SignalState = choice(
        Signal.state, "The state of the signal. `lapsed`: the data no longer support it; it may be suggested again."
    )
    digest: str = field(
        Signal.digest,
        "The digest of its evidence. Dismissed evidence is never suggested again by a rule of the same kind.",
        "0cc175b9c0f1b6a831c399e269772661",
    )
    seen_on: date = field(Signal.seen_on, "The day on which the rule last suggested it.")
    score: One[ScoreResource] | None = one(Signal.score_id, ScoreResource, "The score that is the evidence.")
    window: One[ScreeningWindowResource] | None = one(
        Signal.window_id, ScreeningWindowResource, "The screening window of the score."
    )
    support: One[SupportResource] | None = one(Signal.support_id, SupportResource, "The support that is the evidence.")
    school_class: One[ClassResource] | None = one(
        Signal.class_id, ClassResource, "The class whose results are the evidence."
    )
    result_ids: list[Id] = references(
        Signal.result_ids, "result", "The last 20 results that are the evidence.", rest="results"
    )
    attendance_ids: list[Id] = references(
        Signal.attendance_ids,
        "attendance_record",
        "The records of the last 20 days of absence that are the evidence.",
        rest="attendance",
    )
    incident_ids: list[Id] = references(
        Signal.incident_ids, "incident", "The last 20 incidents that are the evidence.", rest="incidents"
    )
    settled_by: One[StaffResource] | None = one(
        Signal.settled_by, StaffResource, "The person who accepted, dismissed or merged it, if a person did."
    )
    settled_at: datetime | None = field(Signal.settled_at, "When it was accepted, dismissed or merged.")
    settled_because: str | None = field(Signal.settled_because, "Why it was dismissed.", "Ill on that day.")
    concern: One[ConcernResource] | None = one(Signal.concern_id, ConcernResource, "The concern that it became.")
    merged_into: Id | None = reference(Signal.merged_into, "signal", "The signal that it was merged into.")
    version: int = field(Signal.version, "The number of changes; the ETag.", 1)


LINKS = (
    Link(
        StudentResource,
        "signals",
        SignalResource,
        Signal.student_id == Person.id,
        "Every signal about the student, oldest first.",
        order=(Signal.id,),
    ),
)

FLAGS = (
    (
        "supports",
        Flag(
            "went_well",
            "Only active supports whose goal is met, or that a suggested signal says can be faded; this needs "
            "`signal:read` too.",
            on=and_(
                Support.state == SupportState.ACTIVE,
                or_(
                    exists().where(
                        ResponseState.district_id == DISTRICT,
                        ResponseState.support_id == Support.id,
                        ResponseState.state == State.GOAL_MET,
                    ),
                    exists().where(
                        Signal.district_id == DISTRICT,
                        Signal.student_id == Support.student_id,
                        Signal.support_id == Support.id,
                        Signal.kind == SignalKind.READY_TO_FADE,
                        Signal.state == SignalState.SUGGESTED,
                    ),
                ),
            ),
            requires=(Can.READ_SIGNALS,),
        ),
    ),
)
"""The flags that this package adds to lists of other packages, keyed by the name of the list."""

LISTINGS = (
    Listing(
        "signals",
        SignalResource,
        "Signals in the order in which they were suggested first.",
        filters=(
            by_student(Signal.student_id),
            by_school(Signal),
            by_team(Signal.student_id),
            by_area(Signal.area_id),
            Filter(
                "state",
                SignalState,
                lambda state: Signal.state == state,
                "Only signals in this state.",
                SignalState.SUGGESTED,
            ),
            Filter(
                "kind",
                SignalKind,
                lambda kind: Signal.kind == kind,
                "Only signals of this kind.",
                SignalKind.SCREENING_UNDER_CUT,
            ),
        ),
        schools=Signal,
        changed_at=Signal.updated_at,
    ),
)

COMMANDS = (
    Command(
        "accept_signal",
        service.accept_signal,
        SignalResource,
        "Accepts a signal. A signal of a problem becomes an accepted concern; a signal of success does not.",
        "POST /signals/{signal}/accept",
        emits=(SIGNAL_ACCEPTED, CONCERN_RAISED, CONCERN_ACCEPTED),
        body=Body("SignalAcceptance", "The description of the concern that a signal becomes."),
    ),
    Command(
        "dismiss_signal",
        service.dismiss_signal,
        SignalResource,
        "Dismisses a signal, with a reason. The same evidence is never suggested again.",
        "POST /signals/{signal}/dismiss",
        emits=(SIGNAL_DISMISSED,),
        body=Body("SignalDismissal", "The reason for a dismissal."),
    ),
    Command(
        "accept_signals",
        service.accept_signals,
        SignalResource,
        "Accepts several signals, each with its own result. A signal of a problem becomes an accepted concern.",
        "POST /signals/accept",
        emits=(SIGNAL_ACCEPTED, CONCERN_RAISED, CONCERN_ACCEPTED),
        bulk=service.MAX_AT_ONCE,
        items="signals",
        row=attrgetter("row"),
        body=Body("SignalAcceptances", "Up to 500 signals to be accepted."),
    ),
    Command(
        "dismiss_signals",
        service.dismiss_signals,
        SignalResource,
        "Dismisses several signals, each with its own reason and result.",
        "POST /signals/dismiss",
        emits=(SIGNAL_DISMISSED,),
        bulk=service.MAX_AT_ONCE,
        items="signals",
        row=attrgetter("row"),
        body=Body("SignalDismissals", "Up to 500 signals to be dismissed, each with the reason."),
    ),
    Command(
        "merge_signal",
        service.merge_signal,
        SignalResource,
        "Merges a signal into another one about the same student.",
        "POST /signals/{signal}/merge",
        emits=(SIGNAL_MERGED,),
        body=Body("SignalMerger", "The signal that stays."),
    ),
    Command(
        "merge_signals",
        service.merge_signals,
        SignalResource,
        "Merges several signals, each into another one about the same student and with its own result.",
        "POST /signals/merge",
        emits=(SIGNAL_MERGED,),
        bulk=service.MAX_AT_ONCE,
        items="signals",
        row=attrgetter("row"),
        body=Body("SignalMergers", "Up to 500 signals to be merged, each with the signal that stays."),
    ),
)

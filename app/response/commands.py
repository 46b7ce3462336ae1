"""Declares those commands on supports, scores and sessions that cause series to be judged again."""

from operator import attrgetter

from app.events.catalogue import (
    PROBE_REQUESTED,
    RESPONSE_NEVER,
    RESPONSE_OFF_TRACK,
    RESPONSE_RECOVERED,
    RESPONSE_RETRACTED,
    RESPONSE_STOPPED,
    RESPONSE_SUPERSEDED,
    RESPONSE_UNDER_DELIVERED,
    SUPPORT_CHANGED,
    SUPPORT_HANDED_OVER,
    SUPPORT_MEASURE_ADDED,
    SUPPORT_MEASURE_STOPPED,
    SUPPORT_PLANNED,
    SUPPORT_STARTED,
)
from app.evidence.resource import ScoreResource
from app.resources.command import Body, Command, Single
from app.response import service
from app.response.upkeep import handover
from app.support.delivery import SessionResource
from app.support.resource import PhaseResource, SupportResource

JUDGED = (
    RESPONSE_OFF_TRACK,
    RESPONSE_STOPPED,
    RESPONSE_NEVER,
    RESPONSE_RECOVERED,
    RESPONSE_RETRACTED,
    RESPONSE_UNDER_DELIVERED,
    PROBE_REQUESTED,
)
"""The events that can occur when a command judges series immediately."""

COMMANDS = (
    Command(
        "plan_support",
        service.plan_support,
        SupportResource,
        "Plans a support with its goal and aimline. It starts by itself on its first day, unless it `starts` manually.",
        "POST /supports",
        emits=(SUPPORT_PLANNED, SUPPORT_STARTED, *JUDGED),
        status=201,
        body=Body("NewSupport", "A support to be planned."),
    ),
    Command(
        "start_support",
        service.start_support,
        SupportResource,
        "Starts a planned support: its first session was given. If it has already started by itself, its first day "
        "is corrected to the given one.",
        "POST /supports/{support}/start",
        emits=(SUPPORT_STARTED, *JUDGED),
        body=Body("SupportStart", "The day on which a support started."),
    ),
    Command(
        "change_support",
        service.change_support,
        PhaseResource,
        "Changes a support: a new phase with another level, goal or dosage begins on the day that it names.",
        "POST /supports/{support}/change",
        emits=(SUPPORT_CHANGED, RESPONSE_SUPERSEDED, *JUDGED),
        body=Body("SupportChange", "Changes of a support from a day on; fields that are not given keep their values."),
        rest_result=SupportResource,
    ),
    Command(
        "hand_over_support",
        handover.hand_over_support,
        SupportResource,
        "Hands a support over to another lead or provider. It draws no phase line and gives no new verdict.",
        "POST /supports/{support}/handover",
        emits=(SUPPORT_HANDED_OVER,),
        body=Body("NewHandover", "The new lead or provider of a support, and the reason."),
    ),
    Command(
        "follow_measure",
        service.follow_measure,
        SupportResource,
        "Follows a support by an additional measure, in addition to its first one. The measure has its own goal.",
        "POST /supports/{support}/measures",
        emits=(SUPPORT_MEASURE_ADDED, *JUDGED),
        status=201,
        more="The verdict on the support is the most serious of those on its measures. The measures share the stated "
        "false-alarm rate. In a later phase the goal stays, with a new baseline, unless it is met already; the measure "
        "then waits for a new goal, which this operation gives it.",
    ),
    Command(
        "stop_measure",
        service.stop_measure,
        SupportResource,
        "Stops following a support by an additional measure. Its scores and verdicts are kept.",
        "POST /supports/{support}/measures/stop",
        emits=(SUPPORT_MEASURE_STOPPED, RESPONSE_SUPERSEDED, *JUDGED),
        body=Body("StoppedMeasure", "An additional measure by which a support is no longer followed."),
        more="An open alert that this measure opened is closed.",
    ),
    Command(
        "record_scores",
        service.record_scores,
        ScoreResource,
        "Records scores, each independently: an invalid one is refused alone. The affected series are judged at once.",
        "POST /scores/bulk",
        emits=JUDGED,
        bulk=500,
        items="scores",
        body=Body("NewScores", "Up to 500 scores."),
        row=attrgetter("score"),
        single=Single(
            "record_score",
            "Records one score and judges the series that it belongs to, in the same transaction. 201 for a new "
            "score, 200 for one that was sent before.",
            "POST /scores",
            status=201,
            created=lambda result: bool(result.outcome == "recorded"),
        ),
    ),
    Command(
        "amend_score",
        service.amend_score,
        ScoreResource,
        "Amends a score; the affected series are judged again at once.",
        "POST /scores/{score}/amend",
        emits=JUDGED,
        body=Body(
            "ScoreAmendment",
            "A correction of a score with its reason; fields that are not given keep their values.",
        ),
        more="An alert that is no longer justified is retracted, with an event.",
    ),
    Command(
        "remove_score",
        service.remove_score,
        ScoreResource,
        "Removes a score from its series; the affected series are judged again at once.",
        "POST /scores/{score}/remove",
        emits=JUDGED,
        body=Body("ScoreRemoval", "The reason for a score's removal."),
        more="Sending the score again under the same key restores it.",
    ),
    Command(
        "record_sessions",
        service.record_sessions,
        SessionResource,
        "Records sessions of a support, each independently: an invalid one is refused alone.",
        "POST /supports/{support}/sessions",
        emits=JUDGED,
        bulk=500,
        items="sessions",
        body=Body("NewSessions", "Up to 500 sessions of one support."),
        row=attrgetter("session"),
    ),
    Command(
        "amend_session",
        service.amend_session,
        SessionResource,
        "Amends a session; its values before are kept, and the support is judged again.",
        "POST /sessions/{session}/amend",
        emits=JUDGED,
        body=Body("SessionAmendment", "A correction of a session; fields that are not given keep their values."),
    ),
    Command(
        "remove_session",
        service.remove_session,
        None,
        "Removes a session that was recorded by mistake. Its values are kept, and its day counts as unknown again.",
        "DELETE /sessions/{session}",
        emits=JUDGED,
        status=204,
    ),
)

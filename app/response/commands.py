"""Declares the commands on supports, scores and sessions after which the affected series are judged again."""

from app.events.catalogue import (
    PROBE_REQUESTED,
    RESPONSE_ENDED,
    RESPONSE_NEVER,
    RESPONSE_OFF_TRACK,
    RESPONSE_RECOVERED,
    RESPONSE_RETRACTED,
    RESPONSE_STOPPED,
    RESPONSE_SUPERSEDED,
    RESPONSE_UNDER_DELIVERED,
    SUPPORT_CHANGED,
    SUPPORT_ENDED,
    SUPPORT_STARTED,
)
from app.evidence.resource import ScoreResource
from app.resources.declare import Command
from app.response import service
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
"""The events that an immediate judgement can report."""

COMMANDS = (
    Command(
        "start_support",
        service.start_support,
        SupportResource,
        "Starts a planned support: its first session was given.",
        "POST /supports/{support}/start",
        emits=(SUPPORT_STARTED,),
    ),
    Command(
        "change_support",
        service.change_support,
        PhaseResource,
        "Changes a support: a new phase with another level, goal or dosage begins on the day that it names.",
        "POST /supports/{support}/change",
        emits=(SUPPORT_CHANGED, RESPONSE_SUPERSEDED, *JUDGED),
    ),
    Command(
        "end_support",
        service.end_support,
        SupportResource,
        "Ends a planned or active support.",
        "POST /supports/{support}/end",
        emits=(SUPPORT_ENDED, RESPONSE_ENDED),
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
    ),
    Command(
        "amend_score",
        service.amend_score,
        ScoreResource,
        "Amends a score; the affected series are judged again at once.",
        "POST /scores/{score}/amend",
        emits=JUDGED,
    ),
    Command(
        "remove_score",
        service.remove_score,
        ScoreResource,
        "Removes a score from its series; the affected series are judged again at once.",
        "POST /scores/{score}/remove",
        emits=JUDGED,
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
    ),
    Command(
        "amend_session",
        service.amend_session,
        SessionResource,
        "Amends a session; its values before are kept.",
        "POST /sessions/{session}/amend",
        emits=JUDGED,
    ),
    Command(
        "remove_session",
        service.remove_session,
        None,
        "Removes a session; its values are kept.",
        "DELETE /sessions/{session}",
        emits=JUDGED,
        status=204,
    ),
)

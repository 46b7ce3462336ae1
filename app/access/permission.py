"""Defines the whole authorization policy: the permissions, and which roles have them.

Each permission is also the OAuth scope of the same name. A person's permissions follow from their role in the roster. A
client that acts for a person has only permissions that the client and the person both have.
"""

from enum import StrEnum


class Can(StrEnum):
    """A permission for one action on one kind of record; its value is the OAuth scope."""

    READ_ROSTER = "roster:read"
    READ_DEMOGRAPHICS = "demographics:read"
    READ_GRADES = "grades:read"
    READ_TEAMS = "team:read"
    FORM_TEAMS = "team:form"
    READ_MEETINGS = "meeting:read"
    RUN_MEETINGS = "meeting:run"
    LINK_CALENDARS = "calendar:link"
    READ_ACTIONS = "action:read"
    AGREE_ACTIONS = "action:agree"
    READ_PLAYBOOK = "playbook:read"
    PUBLISH_PLAYBOOK = "playbook:publish"
    SCHEDULE_SCREENING = "screening:schedule"
    READ_CONCERNS = "concern:read"
    RAISE_CONCERN = "concern:raise"
    SETTLE_CONCERN = "concern:settle"
    READ_SIGNALS = "signal:read"
    SETTLE_SIGNALS = "signal:settle"
    READ_SUPPORTS = "support:read"
    PLAN_SUPPORT = "support:plan"
    RECORD_SESSIONS = "session:record"
    READ_SCORES = "score:read"
    RECORD_SCORES = "score:record"
    READ_ATTENDANCE = "attendance:read"
    RECORD_ATTENDANCE = "attendance:record"
    READ_INCIDENTS = "incident:read"
    RECORD_INCIDENTS = "incident:record"
    READ_VERDICTS = "verdict:read"
    READ_DECISIONS = "decision:read"
    DECIDE = "decision:make"
    READ_NOTES = "note:read"
    WRITE_NOTES = "note:write"
    READ_HYPOTHESES = "hypothesis:read"
    WEIGH_HYPOTHESES = "hypothesis:weigh"
    READ_EVENTS = "event:read"
    READ_SYNC = "sync:read"
    APPROVE_SYNC = "sync:approve"
    RUN_SYNC = "sync:run"
    MANAGE_SOURCES = "source:manage"
    MANAGE_WEBHOOKS = "webhook:manage"
    MOVE_TEST_CLOCK = "test-clock:move"
    ACT_FOR = "act-for"
    # The permissions below are for the worker, the sync and the operator; no client or person can be granted them.
    SYNC_ROSTER = "sis:sync"
    JUDGE = "response:judge"
    DELIVER_WEBHOOKS = "webhook:deliver"
    MAINTAIN = "district:maintain"
    OPERATE = "district:operate"


INTERNAL = frozenset({Can.SYNC_ROSTER, Can.JUDGE, Can.DELIVER_WEBHOOKS, Can.MAINTAIN, Can.OPERATE})
GRANTABLE = frozenset(Can) - INTERNAL

MEANING: dict[Can, str] = {
    Can.READ_ROSTER: "Read students, staff, schools, classes and enrollments.",
    Can.READ_DEMOGRAPHICS: "Read demographics, which have a permission of their own.",
    Can.READ_GRADES: "Read grades: line items and results, as the SIS has them.",
    Can.READ_TEAMS: "Read teams, their members and the students that they serve.",
    Can.FORM_TEAMS: "Form teams: choose the members, and the students that they serve and thus see.",
    Can.READ_MEETINGS: "Read meetings and their agendas: what is on them, why, and what was noted and decided.",
    Can.RUN_MEETINGS: "Schedule, open and close meetings of teams, and settle the items of their agendas.",
    Can.LINK_CALENDARS: "Create and revoke links by which a calendar program reads, without a token, when teams meet.",
    Can.READ_ACTIONS: "Read what teams have agreed to do.",
    Can.AGREE_ACTIONS: "Agree what the members of a team do, and record what became of it.",
    Can.READ_PLAYBOOK: "Read areas, levels, measures and rules.",
    Can.SCHEDULE_SCREENING: "Schedule, move and cancel the windows in which students are screened.",
    Can.PUBLISH_PLAYBOOK: "Publish rules for judging series, change areas, levels, measures and breaks of the year.",
    Can.READ_CONCERNS: "Read concerns.",
    Can.RAISE_CONCERN: "Raise a concern about a student.",
    Can.SETTLE_CONCERN: "Accept, dismiss and resolve concerns.",
    Can.READ_SIGNALS: "Read signals: what the rules of the district see in a student's data.",
    Can.SETTLE_SIGNALS: "Accept, dismiss and merge signals.",
    Can.READ_SUPPORTS: "Read supports, their sessions and their dosage.",
    Can.PLAN_SUPPORT: "Plan, start, change and end supports.",
    Can.RECORD_SESSIONS: "Record, amend and remove the sessions of a support.",
    Can.READ_SCORES: "Read scores.",
    Can.RECORD_SCORES: "Record scores.",
    Can.READ_ATTENDANCE: "Read attendance.",
    Can.RECORD_ATTENDANCE: "Record and remove attendance.",
    Can.READ_INCIDENTS: "Read incidents, which have a permission of their own.",
    Can.RECORD_INCIDENTS: "Record and remove incidents.",
    Can.READ_VERDICTS: "Read verdicts and their reasons.",
    Can.READ_DECISIONS: "Read a team's decisions.",
    Can.DECIDE: "Record a team's decision.",
    Can.READ_NOTES: "Read notes on concerns, supports and agenda items, which have a permission of their own.",
    Can.WRITE_NOTES: "Write notes on concerns, supports and agenda items, and amend the own ones.",
    Can.READ_HYPOTHESES: "Read hypotheses about the causes of concerns, and what became of them.",
    Can.WEIGH_HYPOTHESES: "Propose hypotheses, have supports test them, and close them with an outcome.",
    Can.READ_EVENTS: "Read the change feed.",
    Can.READ_SYNC: "Read what each sync did.",
    Can.APPROVE_SYNC: "Approve, discard or re-key a sync that is held, undo one that was applied.",
    Can.RUN_SYNC: "Request a sync of a configured source.",
    Can.MANAGE_SOURCES: "Create, change and pause the sources that a district syncs from.",
    Can.MANAGE_WEBHOOKS: "Create, read and remove webhook endpoints.",
    Can.MOVE_TEST_CLOCK: "Move the test clock of a sandbox district.",
    Can.ACT_FOR: "Name the person that a request acts for.",
}

_READS = frozenset(
    {
        Can.READ_ROSTER,
        Can.READ_GRADES,
        Can.READ_TEAMS,
        Can.READ_ACTIONS,
        Can.READ_PLAYBOOK,
        Can.READ_CONCERNS,
        Can.READ_SIGNALS,
        Can.READ_SUPPORTS,
        Can.READ_SCORES,
        Can.READ_ATTENDANCE,
        Can.READ_VERDICTS,
        Can.READ_DECISIONS,
    }
)
_TEACHES = _READS | {
    Can.AGREE_ACTIONS,
    Can.RAISE_CONCERN,
    Can.RECORD_SCORES,
    Can.RECORD_SESSIONS,
    Can.RECORD_ATTENDANCE,
}
_LEADS = (
    _TEACHES
    | {Can.SETTLE_CONCERN, Can.SETTLE_SIGNALS, Can.PLAN_SUPPORT, Can.DECIDE}
    | {Can.READ_NOTES, Can.WRITE_NOTES, Can.READ_HYPOTHESES, Can.WEIGH_HYPOTHESES}
    | {Can.READ_INCIDENTS, Can.RECORD_INCIDENTS}
    | {Can.READ_MEETINGS, Can.RUN_MEETINGS, Can.LINK_CALENDARS}
)
_ADMINISTERS = _LEADS | {Can.FORM_TEAMS, Can.SCHEDULE_SCREENING}

ROLE_OPENS: dict[str, frozenset[Can]] = {
    "teacher": _LEADS,
    "aide": _TEACHES,
    "counselor": _LEADS,
    "principal": _ADMINISTERS,
    "siteAdministrator": _ADMINISTERS,
    "administrator": _ADMINISTERS,
    "districtAdministrator": _ADMINISTERS | {Can.PUBLISH_PLAYBOOK},
}
"""The permissions of each OneRoster staff role. Roles that are not listed have none."""

SEES_SCHOOL = frozenset({"counselor", "principal", "siteAdministrator", "administrator", "districtAdministrator"})
"""The roles that see every student of their schools.

Other roles see only students whom they teach, support or lead, and all roles see the students of their teams.
"""

SEES_SECURED = frozenset({"counselor", "principal", "siteAdministrator", "administrator", "districtAdministrator"})
"""The roles that see records in a secured area, provided that the client acting for the person was granted the area."""

AREA_PREFIX = "area:"
DEMOGRAPHICS_LOCK = "demographics"


def is_scope(text: str) -> bool:
    """Returns whether a client may be granted this scope: a permission that can be granted, or `area:<code>`.

    `area:<code>` gives access to a secured area.
    """
    if text.startswith(AREA_PREFIX):
        code = text.removeprefix(AREA_PREFIX)
        return bool(code) and code.replace(".", "").replace("-", "").replace("_", "").isalnum() and code.isascii()
    return text in {str(can) for can in GRANTABLE}

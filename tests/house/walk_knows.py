"""Values that the tests send for the parameters and fields of the operations."""

from datetime import timedelta
from typing import Any

from tests.house.full_district import BEGINS
from tests.house.walk_catalogue import command_values, filter_values
from tests.sis.roster_zip import Export

UNWALKED = {
    "/openapi.json": "the contract; asks for nobody's rows",
    "/docs": "a page of our own files",
    "/docs/problems/": "as the page",
    "/docs/problems/{code}": "as the page",
    "/": "leads to the page",
    "/swagger/swagger-ui-bundle.js": "as the page",
    "/swagger/swagger-ui.css": "as the page",
    "/swagger/favicon-32x32.png": "as the page",
    "/graphiql": "a page of our own files",
    "/graphiql/react.production.min.js": "as the page",
    "/graphiql/react-dom.production.min.js": "as the page",
    "/graphiql/graphiql.min.js": "as the page",
    "/graphiql/graphiql.min.css": "as the page",
    "/graphiql/page.js": "as the page",
    "/graphiql/page.css": "as the page",
    "/v1/events/stream": "a stream, walked in tests/faces/test_stream.py",
    "/graphql": "walked by its schema, in test_stranger_graphql.py",
}
"""Routes outside of the contract."""
STREAMS = {"stream_events": "its answer does not end; tests/faces/test_stream.py walks it"}
"""Operations that the walk leaves out, with the reason."""
OPEN = {"live", "ready", "token", "jwks", "authorization_server", "get_calendar"}
"""Operations that ask for no token and read no district's rows but by a secret."""
WITHOUT_SCOPE = {"get_me"}
"""Operations that need no scope, because they return only what the caller's token contains."""

CONFLICTING_READS = {
    *("get_chart", "get_chart_svg", "get_group_chart", "get_group_chart_svg"),
    *("get_recap", "get_recap_page"),
}
"""The reads that conflict with a state: what has no measure has no chart, and only a closed meeting has a recap."""
PATHS = {
    "student": "student",
    "person": "person",
    "school": "org",
    "class_": "class",
    "break_": "break",
    "action_item": "action item",
    "team": "team",
    "team_member": "membership",
    "team_scope": "scope of team",
    "protocol": "protocol",
    "meeting_series": "series",
    "meeting": "meeting",
    "calendar_link": "calendar link",
    "agenda_item": "agenda item",
    "screening_window": "window",
    "signal_rule": "signal rule",
    "signal": "signal",
    "core_stall": "core stall",
    "attendance_record": "attendance",
    "concern": "concern",
    "note": "note",
    "hypothesis": "hypothesis",
    "incident": "incident",
    "incident_kind": "incident kind",
    "hypothesis_kind": "hypothesis kind",
    "group": "group",
    "support": "support",
    "session": "session",
    "score": "score",
    "verdict": "verdict",
    "decision": "decision",
    "endpoint": "endpoint",
    "delivery": "delivery",
    "run": "run",
    "source": "source",
    "name": "consumer",
    "measure": "measure",
    "benchmark": "benchmark",
    "area": "area ela.fluency",
    "level": "level",
    "playbook": "playbook",
    "intervention": "intervention",
}
"""The name of a row of the district for each path parameter."""
NAMES_ITS_OWN = {"keep_consumer"}
"""Operations whose path names a row of the caller's own, so that another district's row is not addressed."""
OWN_ROW = {
    "get_meeting": "closed meeting",
    "get_recap": "closed meeting",
    "get_recap_page": "closed meeting",
    "close_action_item": "action item to close",
    "close_hypothesis": "hypothesis to close",
    "dismiss_concern": "concern to dismiss",
    "resolve_concern": "concern to resolve",
    "retire_protocol": "protocol to retire",
    "end_meeting_series": "series to end",
    "revoke_calendar_link": "calendar link to revoke",
    "cancel_meeting": "meeting to cancel",
    "open_meeting": "meeting to open",
    "close_meeting": "meeting to close",
    "discuss_agenda_item": "item to discuss",
    "carry_agenda_item": "item to carry",
    "drop_agenda_item": "item to drop",
    "retire_signal_rule": "signal rule to retire",
    "dismiss_signal": "signal to dismiss",
    "merge_signal": "signal to merge",
    "dismiss_core_stall": "core stall to dismiss",
    "remove_incident": "incident to remove",
    "remove_attendance": "attendance to remove",
    "move_screening_window": "window to move",
    "cancel_screening_window": "window to cancel",
    "publish_intervention": "draft",
    "retire_intervention": "entry to retire",
    "end_group": "group to end",
    "join_group": "group to join",
    "leave_group": "group to leave",
    "start_support": "support to start",
    "end_support": "support to end",
    "follow_measure": "support to follow",
    "stop_measure": "support to stop",
    "amend_session": "session to amend",
    "remove_session": "session to remove",
    "amend_score": "score to change",
    "remove_score": "score to remove",
    "approve_sync_run": "held run",
    "discard_sync_run": "held run to discard",
    "undo_sync_run": "run to undo",
    "rekey_sync_run": "held run to rekey",
    "send_roster": "source of csv",
    "send_scores": "source of scores",
    "remove_break": "break to remove",
    "archive_team": "team to archive",
    "end_team_membership": "membership to end",
    "end_team_scope": "scope to end",
    "retire_area": "area to retire",
    "restore_area": "area to restore",
    "retire_level": "level to retire",
    "restore_level": "level to restore",
}
"""The row whose state allows the operation, if it is not the first of its kind."""
REFERENCES = {
    **{"student": "student", "school": "org", "class": "class", "caseload": "person", "support": "support"},
    **{"area": "area ela.fluency", "measure": "measure", "verdict": "verdict"},
    "cursor": "cursor of consumer",
    "about": "concern",
    "library_entry": "library entry",
    "concern": "concern",
    **{"member": "person", "person": "person", "school_class": "class", "team": "team", "group": "group"},
    "score_id": "score to change",
    "break_id": "break to remove",
    "benchmark_id": "benchmark",
    **{"into": "signal", "signal": "signal"},
    "window_id": "window",
    "protocol": "protocol",
    "series": "series",
    "meeting": "meeting",
    "source": "source",
    "delivery": "delivery",
    **dict.fromkeys(
        ("by", "raised_by", "given_by", "decided_by", "proposed_by", "lead", "provider", "giver"), "person"
    ),
    **dict.fromkeys(("taker", "owner"), "other person"),
}
"""Query parameter or field of a body: the name of the row that it refers to."""
OWN_REFERENCES = {
    ("list_agenda_items", "meeting"): "closed meeting",
    ("reassign_action_item", "owner"): "administrator",
    ("list_agenda_items", "student"): "cy",
    **dict.fromkeys(
        (("agree_action_item", "student"), ("agree_action_items", "student"), ("add_agenda_item", "student")), "cy"
    ),
    ("accept_signals", "signal"): "signal to accept in a list",
    ("dismiss_signals", "signal"): "signal to dismiss in a list",
    ("merge_signals", "signal"): "signal to merge in a list",
}
"""Field of one operation: the name of the row that it refers to, if it is not the usual one."""
LISTED = {
    "concerns": "concern to serve",
    "evidence_for": "concern to serve",
    "evidence_against": "concern to resolve",
    "schools": "org",
    "present": "person",
    "areas": "area to order",
    "levels": "level",
}
"""Field of a body that lists references: the name of the row that it lists."""
VALUES: dict[str, Any] = filter_values() | {
    "include_total": "true",
    "due_by": str(BEGINS + timedelta(weeks=30)),
    "mine": "false",  # the walks act for nobody
    "show": "all",
    "count_by": "level",
    "fields": "id",
    "state": "active",
    "type": "concern.raised",
    "level": 2,
    "version": "concern.raised:1",
    "playbook_number": 1,
    "since": str(BEGINS),
    "until": str(BEGINS + timedelta(weeks=30)),
    "on": str(BEGINS + timedelta(weeks=30)),
    "limit": 200,
    "width": 320,
    "dry": "true",
}
"""For each query parameter, a value that matches rows of the district. The catalogue has those of declared lists."""
HEADERS = {"If-Match": "*"}
"""Header that an operation requires: its value."""
FIELDS: dict[str, Any] = {
    "since": f"{BEGINS}T00:00:00Z",
    "which": "failed",
    "description": "What it is for.",
    "overlap_seconds": 3600,
    "raised_on": str(BEGINS),
    "decided_on": str(BEGINS + timedelta(weeks=11)),
    "taken_on": str(BEGINS + timedelta(weeks=11)),
    "begins_on": str(BEGINS + timedelta(weeks=11)),
    "starts_on": str(BEGINS),
    "on": str(BEGINS + timedelta(weeks=11)),
    "held_on": str(BEGINS + timedelta(weeks=3)),
    "from_on": str(BEGINS),
    "until_on": str(BEGINS + timedelta(weeks=40)),
    "ends_on": str(BEGINS + timedelta(weeks=12)),
    "name": "A snow week",
    "goal_on": str(BEGINS + timedelta(weeks=20)),
    "confirm_rate": True,
    "external_id": "theirs-1",
    "kind": "continue",
    "url": "http://127.0.0.1:9999/hook",
    "event_types": ["concern.raised"],
    "signature": "ed25519",
    "versions": {"concern.raised": 1},
    "begin": "end",
    "to": "cursor",
    "time": f"{BEGINS}T00:00:00Z",
    "number": 1,
    "attended": True,
    "planned_minutes": 30,
    "delivered_minutes": 20,
    "lost_because": "schedule",
    "value": 47.0,
    "attempt": 1,
    "form": "A",
    "purpose": "progress",
    "plan": "0123456789abcdef",
    "without_removals": False,
    "backfill": False,
    "atomic": False,
    "dry_run": False,
    "alert": False,
    "rule": "monitor",
    "parameters": {"far_percent": 10},
    "parameter": "far_percent",
}
"""For each field of a body that refers to no row, an accepted value."""
_SOURCE = {
    "gradebook_url": "http://127.0.0.1:9999/grades",
    "token_url": "http://127.0.0.1:9999/token",
    "auth": "oauth2-basic",
    "client_id": "north",
    "client_secret": "of-a-test",
    "scopes": ["roster.readonly"],
    "page_size": 500,
    "concurrency": 3,
    "schools": ["school-1"],  # sourcedIds of the delivery, which name no row of the district
    "left_out": ["demographics"],
    "limits": {"removed": 0.2},
    "rollover": {"begins_on": "2026-07-01", "ends_on": "2026-08-31"},
    "mapping": {},
    "cron": "0 2 * * *",
    "jitter_minutes": 5,
    "freeze": [["2026-12-21", "2027-01-01"]],
    "full_cron": "0 3 * * 6",
    "overlap_hours": 48,
    "pull_minutes": 90,
    "pull_gb": 5,
}
_MEASURE = {
    "name": "Walked",
    "unit": "words correct a minute",
    "direction": "up",
    "lowest": 0.0,
    "highest": 300.0,
    "sem": 7.0,
    "kind": "growth",
    "forms": None,
}
DECLARED = command_values()
"""Input of a declared command that refers to no row: its example."""
OWN_FIELDS: dict[tuple[str, str], Any] = {
    **{("make_measure", name): value for name, value in _MEASURE.items()},
    **{("amend_measure", name): value for name, value in _MEASURE.items()},
    ("make_measure", "code"): "walked",
    ("amend_measure", "code"): "orf",
    **{("register_source", name): value for name, value in _SOURCE.items()},
    **{("change_source", name): value for name, value in _SOURCE.items()},
    ("register_source", "name"): "walked",
    ("register_source", "kind"): "oneroster-1.1",
    ("draft_interventions", "levels"): [2, 3],
    ("propose_hypothesis", "kind"): "skill",
    ("record_incidents", "kind"): "disruption",
    ("propose_hypotheses", "kind"): "skill",
    **dict.fromkeys((("publish_signal_rule", "kind"), ("preview_signal_rule", "kind")), "screening_under_cut"),
    ("form_team", "purpose"): "grade",
    ("schedule_meeting_series", "rule"): "FREQ=WEEKLY;BYDAY=TU",
    ("schedule_screening_window", "opens_on"): str(BEGINS + timedelta(weeks=60)),
    ("schedule_screening_window", "closes_on"): str(BEGINS + timedelta(weeks=62)),
    ("schedule_screening_windows", "opens_on"): str(BEGINS + timedelta(weeks=64)),
    ("schedule_screening_windows", "closes_on"): str(BEGINS + timedelta(weeks=66)),
    ("move_screening_window", "opens_on"): str(BEGINS + timedelta(weeks=70)),
    ("move_screening_window", "closes_on"): str(BEGINS + timedelta(weeks=72)),
    ("move_test_clock", "today"): str(BEGINS + timedelta(weeks=13)),  # after today, on any day of the week
    ("ask_for_sync", "mode"): "full",
    ("ask_for_sync", "dry"): False,
    ("approve_sync_run", "kinds"): ["person"],
    ("rekey_sync_run", "match"): "identifier",
    ("rekey_sync_run", "old"): "s1",
    ("rekey_sync_run", "new"): "new-s1",
    ("publish_benchmarks", "benchmark_goal"): 73.0,
    ("publish_benchmarks", "citation"): "Walked norms",
    **dict.fromkeys((("rename_area", "name"), ("rename_level", "name")), "Renamed"),
}
"""For a field of one operation's body that refers to no row, an accepted value."""
CONTENT = {
    "send_roster": (Export().packed(), "application/zip"),
    "send_scores": (b"studentSourcedId,measure,date,value\r\n", "text/csv"),
}
"""For each operation whose body is no JSON, an accepted body and its type."""
LEFT_OUT = {
    **dict.fromkeys(
        ((name, "review_on") for name in ("plan_support", "form_group", "change_support", "decide")),
        "a support with a measure has a goal",
    ),
    ("record_group_sessions", "attendance"): "every member was there",
    **dict.fromkeys((("leave_group", "on"), ("end_group", "on")), "today, by the district's own day"),
    ("decide", "student"): "a decision names the support or the student",
    ("decide", "change"): "nothing changes by a `continue`",
    **dict.fromkeys(
        ((name, "done_parts") for name in ("record_sessions", "amend_session", "record_group_sessions")),
        "the support follows no checklist",
    ),
    ("start_support", "on"): "as planned",
    ("discuss_agenda_item", "decision"): "a decision about the student of the item",
    **{
        (name, parameter): "a rule about screening has none"
        for name in ("publish_signal_rule", "preview_signal_rule")
        for parameter in ("percent", "points", "least")
    },
    ("amend_session", "held_on"): "the day of another",
    ("amend_score", "taken_on"): "as above",
    **dict.fromkeys((("preview_playbook", "area"), ("publish_playbook", "area")), "a rule is for a measure or an area"),
    **dict.fromkeys((("add_team_scope", "school_class"), ("add_team_scope", "student")), "a grade is named"),
    **dict.fromkeys((("add_team_scopes", name) for name in ("school", "grade", "school_class")), "a student is named"),
    ("seek_consumer", "time"): "to a cursor",
    ("approve_sync_run", "kinds"): "the plan has none",
    ("rekey_sync_run", "map"): "matched by identifier",
    ("acknowledge_quarantine", "rows"): "all rows of the run are acknowledged",
}
"""Optional fields that would make a good body a bad one."""

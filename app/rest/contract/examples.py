"""Gives every operation an example of its request, which works in the playground once its ids are replaced.

The values are the examples that the inputs declare. Ids of rows differ in every district, so the description of each
operation states which GET requests list them. The test that tries all examples reads these descriptions.
"""

from typing import Any

from app.resources.command import PARAMETER
from app.rest.contract.statuses import operations

PREFIX = "#/components/schemas/"
JSON = "application/json"
BODIES: dict[str, dict[str, Any]] = {
    "add_team_scopes": {"team_scopes": [{"student": "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"}]},
    "accept_concern": {"because": "Screening confirms it."},
    "agree_action_item": {"owner": "per_01jq4n6d9zf3vbs0x5k2m7e8tb"},
    "agree_at_agenda_item": {"owner": "per_01jq4n6d9zf3vbs0x5k2m7e8tb"},
    "agree_action_items": {
        "action_items": [
            {
                "team": "tea_01jq4n6d9zf3vbs0x5k2m7e8th",
                "text": "Call the family about the new plan.",
                "owner": "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
                "due_on": "2026-10-06",
            }
        ]
    },
    "amend_measure": {"name": "Oral reading fluency"},
    "amend_score": {"because": "Scored again", "value": 47.0},
    "amend_session": {"attended": True},
    "change_endpoint": {"description": "Alerts of the reading team"},
    "change_source": {"overlap_hours": 48},
    "change_support": {"because": "Four scores below the aimline.", "sessions_per_week": 5, "confirm_rate": True},
    "close_meeting": {"carry_rest": True},
    "create_calendar_link": {"team": "tea_01jq4n6d9zf3vbs0x5k2m7e8th"},
    "commit_consumer": {"cursor": "…"},
    "add_evidence": {"evidence_for": ["sco_01jq4n6d9zf3vbs0x5k2m7e8tj"]},
    "add_team_scope": {"student": "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"},
    "decide": {"kind": "continue", "support": "sup_01jq4n6d9zf3vbs0x5k2m7e8tf"},
    "dismiss_concern": {"because": "Screening does not confirm it."},
    "follow_measure": {"baseline": 9.0, "confirm_rate": True},
    "form_group": {"area": "ela.fluency", "intervention": "Repeated reading", "review_on": "2027-02-12"},
    "hand_over_group": {"lead": "per_01jq4n6d9zf3vbs0x5k2m7e8td"},
    "hand_over_support": {"lead": "per_01jq4n6d9zf3vbs0x5k2m7e8td"},
    "join_group": {"baseline": 42.0, "goal": 70.0, "confirm_rate": True},
    "keep_consumer": {"begin": "beginning"},
    "make_measure": {"code": "orf-spanish", "name": "Oral reading fluency, Spanish"},
    "move_screening_window": {"opens_on": "2028-04-24", "closes_on": "2028-05-12"},
    "plan_support": {
        "intervention": "Repeated reading with feedback",
        "measure": "orf",
        "baseline": 42.0,
        "goal": 70.0,
        "goal_on": "2027-06-11",
        "confirm_rate": True,
    },
    "preview_playbook": {"rules": [{"rule": "four-point", "measure": "orf"}]},
    "publish_benchmarks": {
        "benchmarks": [{"measure": "orf", "grade": "03", "citation": "Our norms of 2026", "benchmark_goal": 73.0}]
    },
    "publish_playbook": {"rules": [{"rule": "four-point", "measure": "orf"}]},
    "draft_interventions": {"interventions": [{"code": "repeated-reading", "name": "Repeated reading"}]},
    "register_source": {"name": "uploads", "kind": "oneroster-csv", "url": "upload:"},
    "rekey_sync_run": {"match": "identifier"},
    "resolve_concern": {"because": "The goal is met."},
    "rotate_secret": {"overlap_seconds": 3600},
    "schedule_screening_window": {"opens_on": "2027-09-07", "closes_on": "2027-09-24"},
    "schedule_screening_windows": {
        "screening_windows": [
            {
                "season": "winter",
                "opens_on": "2028-01-10",
                "closes_on": "2028-01-28",
                "expected": [{"measure": "orf", "grades": ["02", "03"]}],
            }
        ]
    },
    "stop_measure": {"measure": "orf"},
}
"""Values for the example body of an operation, keyed by operation and then by field.

A required field without a value here gets its value from the schema.
"""
FORM = {"grant_type": "client_credentials"}
SOURCES: dict[str, str] = {
    "action_item": "/v1/action-items",
    "about": "/v1/concerns",
    "area": "/v1/areas",
    "break_": "/v1/breaks",
    "class_": "/v1/classes",
    "concern": "/v1/concerns",
    "benchmark": "/v1/benchmarks",
    "cursor": "/v1/events/consumers/{name}/events",
    "decision": "/v1/decisions",
    "delivery": "/v1/webhook-endpoints/{endpoint}/deliveries",
    "endpoint": "/v1/webhook-endpoints",
    "evidence_for": "/v1/scores?student={student}",
    "giver": "lead in /v1/supports?state=active",
    "group": "/v1/groups",
    "into": "/v1/signals?area=ela.fluency&student={student}",
    "lead": "/v1/staff",
    "level": "/v1/levels",
    "levels": "/v1/levels?in_force=true",
    "measure": "/v1/measures",
    "name": "/v1/events/consumers",
    "protocol": "/v1/protocols",
    "meeting": "/v1/meetings",
    "agenda_item": "/v1/agenda-items",
    "meeting_series": "/v1/meeting-series",
    "calendar_link": "/v1/calendar-links",
    "intervention": "/v1/interventions",
    "hypothesis": "/v1/hypotheses",
    "hypothesis_kind": "/v1/hypothesis-kinds",
    "incident_kind": "/v1/incident-kinds",
    "note": "/v1/notes",
    "owner": "owner in /v1/action-items",
    "person": "/v1/staff",
    "playbook": "/v1/playbook-versions",
    "run": "/v1/sync-runs",
    "school": "/v1/schools",
    "score": "/v1/scores",
    "screening_window": "/v1/screening-windows",
    "session": "/v1/supports/{support}/sessions",
    "signal": "/v1/signals",
    "core_stall": "/v1/core-stalls",
    "attendance_record": "/v1/attendance-records",
    "incident": "/v1/incidents",
    "signal_rule": "/v1/signal-rules",
    "source": "/v1/sis-sources",
    "student": "/v1/students",
    "support": "/v1/supports?state=active&verdict=not_responding",
    "taker": "/v1/staff",
    "team": "/v1/teams",
    "team_member": "members in /v1/teams?expand=members",
    "team_scope": "scopes in /v1/teams?expand=scopes",
    "verdict": "/v1/supports/{support}/verdicts",
}
"""The REST lists that have a usable value for a parameter or a field, keyed by the parameter's or the field's name.

`members in /v1/teams` means the field `members` of the first row of `/v1/teams`. An address can have a name in braces,
such as `{student}`. The name stands for a value, which must be taken from the list that has the key `student` here.
"""
IN_BODIES = SOURCES.keys() - (
    {"protocol", "meeting", "meeting_series", "calendar_link", "agenda_item"}
    | {"measure", "name", "benchmark", "group", "action_item"}
    | {"intervention", "hypothesis_kind", "note", "area", "level", "playbook", "signal_rule"}
    | {"screening_window", "core_stall", "attendance_record", "incident", "incident_kind"}
)
"""The fields of bodies that refer to a row by its id.

A field that can have a code, such as `measure`, is not among them: codes are the same in every playground.
"""
OWN_NAME = {"keep_consumer": "nightly"}
"""An example of a name that the client chooses itself and sends in the path, keyed by operation."""
IN_COMPREHENSION = "state=suggested&area=ela.comprehension&kind=screening_under_cut"
OF_OPERATION: dict[tuple[str, str], str] = {
    ("accept_concern", "concern"): "/v1/concerns?state=raised",
    ("accept_signal", "signal"): "/v1/signals?state=suggested&area=ela.fluency",
    ("accept_signals", "signal"): "/v1/signals?state=suggested&area=ela.fluency",
    **{(f"{verb}_core_stall", "core_stall"): "/v1/core-stalls?state=suggested" for verb in ("accept", "dismiss")},
    ("add_evidence", "hypothesis"): "/v1/hypotheses?state=open",
    ("add_evidence", "student"): "student in /v1/hypotheses?state=open",
    ("cancel_meeting", "meeting"): "/v1/meetings?state=scheduled",
    ("open_meeting", "meeting"): "/v1/meetings?state=scheduled",
    **{(name, "meeting"): "/v1/meetings?state=closed" for name in ("get_recap", "get_recap_page")},
    ("close_meeting", "meeting"): "/v1/meetings?state=open",
    **{(f"{verb}_agenda_item", "agenda_item"): "/v1/agenda-items?state=open" for verb in ("discuss", "carry", "drop")},
    ("retire_protocol", "protocol"): "/v1/protocols?in_force=true",
    ("revoke_calendar_link", "calendar_link"): "/v1/calendar-links?revoked=false",
    ("end_meeting_series", "meeting_series"): "/v1/meeting-series?state=active",
    ("agree_at_agenda_item", "agenda_item"): "/v1/agenda-items?state=open",
    ("agree_action_item", "team"): "team in /v1/action-items",
    ("agree_action_items", "team"): "team in /v1/action-items",
    ("cancel_screening_window", "screening_window"): "/v1/screening-windows?state=scheduled",
    ("close_hypothesis", "hypothesis"): "/v1/hypotheses?state=testing",
    ("close_action_item", "action_item"): "/v1/action-items?state=open",
    ("dismiss_concern", "concern"): "/v1/concerns?state=raised",
    ("dismiss_signal", "signal"): "/v1/signals?state=suggested&kind=ahead_of_goal",
    ("dismiss_signals", "signal"): "/v1/signals?state=suggested&kind=ahead_of_goal",
    ("follow_measure", "support"): "/v1/supports?state=active&area=ela.fluency",
    **{(name, "signal"): f"/v1/signals?{IN_COMPREHENSION}" for name in ("merge_signal", "merge_signals")},
    **{(name, "student"): f"student in /v1/signals?{IN_COMPREHENSION}" for name in ("merge_signal", "merge_signals")},
    ("move_screening_window", "screening_window"): "/v1/screening-windows?state=scheduled",
    ("propose_hypothesis", "concern"): "/v1/concerns?state=accepted",
    ("propose_hypotheses", "concern"): "/v1/concerns?state=accepted",
    ("reassign_action_item", "action_item"): "/v1/action-items?state=open",
    ("resolve_concern", "concern"): "/v1/concerns?state=accepted",
    ("retire_area", "area"): "area in /v1/concerns?area=attendance",
    ("retire_signal_rule", "signal_rule"): "/v1/signal-rules?in_force=true",
    ("start_support", "support"): "/v1/supports?state=planned",
    ("stop_measure", "support"): "/v1/supports?state=active&area=ela.comprehension",
    ("test_with_support", "hypothesis"): "/v1/hypotheses?state=open",
    ("test_with_support", "student"): "student in /v1/hypotheses?state=open",
    ("test_with_support", "support"): "/v1/supports?state=active&student={student}",
}
"""The lists for operations that need rows in a certain state. They are used instead of the lists in `SOURCES`.

The keys are pairs: the operation, and the name of the parameter or the field.
"""


def give_examples(document: dict[str, Any]) -> None:
    """Adds an example to the body of every operation, and states in its description where to find the needed ids."""
    for path, _, operation in operations(document):
        named = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == JSON:
                example = _example(document, content["schema"]) | BODIES.get(operation["operationId"], {})
                content["example"] = example
                named += _references(example)
            elif "form" in media_type:
                content["example"] = FORM
        name = operation["operationId"]
        lists = _lists_of(name, named)
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and name in OWN_NAME:
                parameter["example"] = OWN_NAME[name]
                lists.pop(parameter["name"], None)
        lists = {each: address for each, address in lists.items() if address.partition("?")[0] != path}
        if lists:
            words = "; ".join(f"`{each}` from {_place(address)}" for each, address in lists.items())
            operation["description"] = f"{operation['description']}\n\nTo try it, take {words}."


def _lists_of(operation: str, names: list[str]) -> dict[str, str]:
    """Returns the address of a list in which to find a value for each of `names`.

    For example, `/v1/supports?state=active` is the address for `support`. `names` are path parameters, and fields of
    the request that take the id of a row. Names without a list are left out. `operation` is the id of the operation,
    which may have other addresses than usual (`OF_OPERATION`).

    If an address contains a parameter, as in `/v1/supports?student={student}`, the address for `student` is returned
    too.
    """
    lists: dict[str, str] = {}
    names = [name for name in names if name in SOURCES]
    while names:
        lists |= {name: OF_OPERATION.get((operation, name), SOURCES[name]) for name in names}
        needed = [name for address in lists.values() for name in PARAMETER.findall(address)]
        names = [name for name in dict.fromkeys(needed) if name not in lists]
    return lists


def _place(address: str) -> str:
    member, separator, path = address.rpartition(" in ")
    return f"`{member}` in `GET {path}`" if separator else f"`GET {path}`"


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Returns the example that a schema declares, or else a minimal value.

    A minimal value is, for example, an empty text, or an object with the required fields only.
    """
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix(PREFIX)]
    if schema.get("examples"):
        return schema["examples"][0]
    for kind in schema.get("anyOf", ()):
        if kind.get("type") != "null":
            return _example(document, kind)
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        required = schema.get("required", ())
        return {name: _example(document, field) for name, field in schema["properties"].items() if name in required}
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    return schema.get("const", "")


def _references(example: Any) -> list[str]:
    """Returns the names of the fields that contain an id or a cursor, at any depth of an example."""
    if isinstance(example, list):
        return [name for item in example for name in _references(item)]
    if not isinstance(example, dict):
        return []
    own = [name for name, value in example.items() if name in IN_BODIES and _is_text(value)]
    return [*dict.fromkeys([*own, *(name for value in example.values() for name in _references(value))])]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], str))

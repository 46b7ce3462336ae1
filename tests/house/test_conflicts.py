"""Sends each command to rows in many states, and checks which commands answer 409.

The source of the functions that a command calls shows whether it can conflict with a state. If it can, some state must
cause a 409; if it cannot, none may. Every command is sent to every row of its kind, in the order of the contract and
then in reverse, so that it meets rows in other states. `tests/faces/documented.py` checks that each status is
documented.
"""

from collections import defaultdict
from datetime import timedelta

import pytest
from fastapi import FastAPI

from app.catalog import CATALOG
from app.core import ids
from app.resources.command import Command
from tests.faces.rest_town import caller
from tests.house.full_district import BEGINS, FullDistrict
from tests.house.scopes import conflicts_through
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_knows import CONFLICTING_READS, OPEN, PATHS

OF_A_MEASURE = {"measure", "goal_on", "goal", "baseline", "confirm_rate", "alert_after", "form", "concerns"}
"""Inputs that a plan without a measure does not have."""
ELSEWHERE = {
    **dict.fromkeys(
        ("amend_session", "remove_session"), "a planned support has no session; tests/rooms/test_sessions.py"
    ),
    "add_level": "there are fewer levels than a district may have; tests/rooms/test_areas_and_levels.py",
    "schedule_meeting_series": "a team has fewer series than it may have; tests/rooms/test_meetings.py",
    "import_interventions": "the library has fewer entries than it may have; tests/rooms/test_interventions.py",
    "move_test_clock": "the walk's district has a test clock; tests/rooms/test_test_clock.py",
    "send_test": "the endpoint has been resumed by then; tests/rooms/test_webhooks_care.py",
    "resend": "as send_test",
}
"""Commands whose conflicts need more than a row in another state, with the reason and the tests that have them."""
RESTORED = {"retire_area": "restore_area", "retire_level": "restore_level"}
"""Commands that the walk takes back at once, because most other commands need areas and levels in force."""


def rows_of_kind(operation: Operation, district: FullDistrict) -> list[dict[str, str]]:
    """Returns sets of path parameters for an operation: one set for each row that the last parameter can identify."""
    names = operation.names("path")
    if not names:
        return [{}]
    own = {name: district.shown[PATHS[name]] for name in names}
    prefix, separator, _ = own[names[-1]].partition("_")
    alike = [shown for shown in district.shown.values() if separator and shown.startswith(f"{prefix}_")]
    return [own | {names[-1]: shown} for shown in alike or [own[names[-1]]]]


def functions_of(app: FastAPI) -> dict[str, Command]:
    """Returns the commands that are run with one item, keyed by the names of their operations."""
    named = {operation.name for operation in operations(app)}
    return {name: command for name, command in CATALOG.commands.items() if name in named and command.bulk_name != name}


@pytest.fixture(scope="module")
async def codes(app: FastAPI, full_north: FullDistrict) -> dict[str, set[str]]:
    """Sends each command to rows in many states. Returns the codes of the conflicts that occur, keyed by operation."""
    client, seen = caller(app, full_north.town), defaultdict(set)
    for code, area_id in sorted(full_north.town.areas.items()):
        full_north.shown[f"area {code}"] = ids.format_id("area", area_id)
    commands, by_name = functions_of(app), {each.name: each for each in operations(app)}
    for operation in [*operations(app), *reversed(operations(app))]:
        if operation.name not in commands:
            continue
        request = own_request(operation, full_north)
        rows = rows_of_kind(operation, full_north)
        steps = [(operation, values) for values in rows]
        if operation.name in RESTORED:
            back = by_name[RESTORED[operation.name]]
            steps += [(operation, values) for values in reversed(rows)]
            steps += [(back, values) for values in [*reversed(rows), *rows]]
        for step, values in steps:
            answer = await client.ask(step.method, step.path.format(**values), **request.body)
            assert answer.status_code < 500, (step.name, answer.text)
            if answer.status_code == 409:
                seen[step.name].add(answer.json()["code"])
    return dict(seen)


def test_each_command_that_can_conflict_does_so(app: FastAPI, codes: dict[str, set[str]]) -> None:
    """Each command that can raise a conflict, according to its source, raises one for some row.

    `ELSEWHERE` lists the exceptions.
    """
    able = {name: conflicts_through(command.function) for name, command in functions_of(app).items()}
    never = {name: sorted(each) for name, each in able.items() if each and name not in codes}
    assert never.keys() == ELSEWHERE.keys(), never
    assert len(codes) > 15


def test_no_other_command_conflicts(app: FastAPI, codes: dict[str, set[str]]) -> None:
    """Checks that each conflict that a command has answered with is also found in the command's source code.

    It must be raised by the command's function or by a function that this one calls.
    """
    able = {name: conflicts_through(command.function) for name, command in functions_of(app).items()}
    assert {name: each - able[name] for name, each in codes.items() if each - able[name]} == {}


async def test_a_read_conflicts_only_where_that_is_documented(app: FastAPI, full_north: FullDistrict) -> None:
    """A read answers with a conflict only where the contract says so.

    Examples are the chart of a support without a measure and the recap of a meeting that is not closed. Every other
    read of every row, in whatever state, is answered.
    """
    client, by_name = caller(app, full_north.town), {each.name: each for each in operations(app)}
    for name, kind in (("form_group", "group"), ("plan_support", "support")):
        body = own_request(by_name[name], full_north).json
        body = {name: value for name, value in body.items() if name not in OF_A_MEASURE}
        body |= {"area": "ela.fluency", "review_on": str(BEGINS + timedelta(weeks=30))}
        body.pop("library_entry")  # the walk has retired it
        body |= {"members": [{"student": full_north.shown["student"]}]} if kind == "group" else {}
        made = await client.post(f"/v1/{kind}s", body)
        assert made.status_code == 201, made.text
        full_north.shown[f"{kind} without measure"] = made.json()["id"]
    conflicting = set()
    for operation in by_name.values():
        if operation.name in OPEN or not operation.reads or not operation.names("path"):
            continue
        for values in rows_of_kind(operation, full_north):
            status = (await client.get(operation.path.format(**values))).status_code
            conflicting |= {operation.name} if status == 409 else set()
            assert status in (200, 404, 409), operation.name
    assert conflicting == CONFLICTING_READS

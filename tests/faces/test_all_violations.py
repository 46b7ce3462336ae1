"""Tests that independent violations are found at once: of the shape, of references, of lengths and of dates.

The faults are generated from the inputs that the catalogue declares, and sent in pairs over both APIs.
"""

from collections.abc import Iterator
from datetime import date
from itertools import combinations
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.core import ids
from app.core.ids import new_id
from app.core.inputs import InputField, input_fields
from app.resources.command import Command
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, operations, own_request
from tests.town import found_town

REFERENCE_KINDS = {"stu": "student", "per": "person", "org": "school", "sup": "support", "con": "concern"}
HAND_WRITTEN = {"rekey_sync_run": "its body is checked in parts, so that an entirely wrong one is refused early"}


@pytest.fixture(scope="module")
async def rows(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """A district with all kinds of rows."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def faults_of(declared: InputField) -> Iterator[tuple[str, Any]]:
    """Yields wrong values of an input, each with the kind of its fault."""
    yield "shape", {"planted": 1}
    if declared.text is not None and not declared.many:
        yield "length", "x" * (declared.text.max + 1)
    if declared.type is date:
        yield "date", "0001-01-01"
    if isinstance(declared.example, str) and declared.example[:4] in {f"{prefix}_" for prefix in REFERENCE_KINDS}:
        kind = REFERENCE_KINDS[declared.example[:3]]
        yield "reference", ids.format_id("org" if kind == "school" else kind, new_id())
    if declared.name in ("area", "measure"):
        yield "reference", "no-such-code"


def pairs(command: Command) -> Iterator[tuple[tuple[str, str, Any], tuple[str, str, Any]]]:
    """Yields two faults in two inputs of a command, where at most one is of the shape."""
    inputs = command.inputs
    declared = dict(input_fields(inputs.type)) if inputs.items is not None else dict(inputs.fields)
    faults = [
        (name, kind, value)
        for name, each in declared.items()
        if name not in command.path
        for kind, value in faults_of(each)
    ]
    for one, other in combinations(faults, 2):
        kinds = {one[1], other[1]}
        if one[0] != other[0] and kinds != {"shape"}:
            yield one, other


def body_with(operation: Operation, rows: FullDistrict, *faults: tuple[str, str, Any]) -> tuple[Any, str]:
    """Returns a body with these faults, and the pointer of the object that has them."""
    body = own_request(operation, rows).json
    items = (
        next(
            (name for name, value in body.items() if isinstance(value, list) and value and isinstance(value[0], dict)),
            None,
        )
        if operation.name.endswith("s")
        else None
    )
    within = body if items is None else body[items][0]
    for name, _, value in faults:
        within[name] = value
    return body, "" if items is None else f"/{items}/0"


async def test_two_faults_are_found_at_once(app: FastAPI, rows: FullDistrict) -> None:
    """Correcting one violation never reveals another one that had nothing to do with it, in any command over REST."""
    north, by_name = caller(app, rows.town), {one.name: one for one in operations(app)}
    missing, pairs_sent = [], 0
    for command in CATALOG.commands.values():
        names = [command.name] if command.inputs.items is None else [command.single.name] if command.single else []
        names += [command.bulk_name] if command.bulk is not None else []
        for name in names:
            operation = by_name[name]
            if operation.body is None or name in HAND_WRITTEN:
                continue
            for pair in pairs(command):
                body, at = body_with(operation, rows, *pair)
                headers = {"If-Match": "*"} if operation.method == "PATCH" else {}
                path = own_request(operation, rows).path
                answer = await north.ask(operation.method, path, json=body, headers=headers)
                problem = answer.json()
                violations = problem.get("violations", []) + [
                    each for result in problem.get("results", []) for each in result["violations"]
                ]
                pointers = {each["pointer"] for each in violations}
                expected_pointers = {f"{at}/{fault[0]}" for fault in pair}
                pairs_sent += 1
                if not all(any(p == w or p.startswith(f"{w}/") for p in pointers) for w in expected_pointers):
                    missing.append((name, [(f[0], f[1]) for f in pair], answer.status_code, sorted(pointers)))
    assert missing == []
    assert pairs_sent > 200

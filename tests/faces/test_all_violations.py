"""Tests that a command reports all of its independent violations at once.

The violations are wrong types, unknown references, texts that are too long, and impossible dates. They are generated
from the inputs that the catalogue declares. Every pair of them is sent in some request.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import combinations
from typing import Any, NamedTuple

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
    """Returns a district with rows of all kinds."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


class Wrong(NamedTuple):
    """A wrong value of an input."""

    input: str
    kind: str
    value: Any


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


def declared_faults(command: Command) -> list[Wrong]:
    """Returns the declared faults (invalid values) of every input of a command's body."""
    inputs = command.inputs
    declared = dict(input_fields(inputs.type)) if inputs.items is not None else dict(inputs.fields)
    return [
        Wrong(name, kind, value)
        for name, each in declared.items()
        if name not in command.path
        for kind, value in faults_of(each)
    ]


def pairs(faults: Sequence[Wrong]) -> set[tuple[int, int]]:
    """Returns the pairs of faults that one request can have, each fault as its index in `faults`.

    The two faults of a pair are in different inputs. At most one of them is a value of the wrong type (`shape`).
    """
    return {
        (one, other)
        for one, other in combinations(range(len(faults)), 2)
        if faults[one].input != faults[other].input and {faults[one].kind, faults[other].kind} != {"shape"}
    }


def covering(faults: Sequence[Wrong]) -> Iterator[list[Wrong]]:
    """Yields sets of faults that together contain every pair of faults which one request can have.

    The sets are few, because each gets as many new pairs as possible.
    """
    all_pairs = pairs(faults)
    missing = set(all_pairs)
    by_input: dict[str, list[int]] = {}
    for place, fault in enumerate(faults):
        by_input.setdefault(fault.input, []).append(place)
    while missing:
        chosen = list(min(missing))
        for name, places in by_input.items():
            if name not in {faults[place].input for place in chosen}:
                fitting = [place for place in places if all(_ordered(place, other) in all_pairs for other in chosen)]
                new = {place: sum(_ordered(place, other) in missing for other in chosen) for place in fitting}
                best = max(fitting, key=lambda place: new[place], default=None)
                chosen += [best] if best is not None and new[best] else []
        missing -= set(combinations(sorted(chosen), 2))
        yield [faults[place] for place in chosen]


def _ordered(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def body_with(operation: Operation, rows: FullDistrict, faults: Sequence[Wrong]) -> tuple[Any, str]:
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
    for fault in faults:
        within[fault.input] = fault.value
    return body, "" if items is None else f"/{items}/0"


async def test_two_faults_are_found_at_once(app: FastAPI, rows: FullDistrict) -> None:
    """In every REST command, two independent violations are reported at once."""
    north, by_name = caller(app, rows.town), {one.name: one for one in operations(app)}
    missing, pairs_sent = [], 0
    for command in CATALOG.commands.values():
        faults = declared_faults(command)
        names = [command.name] if command.inputs.items is None else [command.single.name] if command.single else []
        names += [command.bulk_name] if command.bulk is not None else []
        for name in names:
            operation = by_name[name]
            if operation.body is None or name in HAND_WRITTEN:
                continue
            for wrong in covering(faults):
                body, at = body_with(operation, rows, wrong)
                headers = {"If-Match": "*"} if operation.method == "PATCH" else {}
                path = own_request(operation, rows).path
                answer = await north.ask(operation.method, path, json=body, headers=headers)
                problem = answer.json()
                violations = problem.get("violations", []) + [
                    each for result in problem.get("results", []) for each in result["violations"]
                ]
                pointers = {each["pointer"] for each in violations}
                expected = {f"{at}/{fault.input}" for fault in wrong}
                if not all(any(p == w or p.startswith(f"{w}/") for p in pointers) for w in expected):
                    missing.append((name, [fault[:2] for fault in wrong], answer.status_code, sorted(pointers)))
            pairs_sent += len(pairs(faults))
    assert missing == []
    assert pairs_sent > 200


def test_every_pair_of_faults_is_sent() -> None:
    """The requests contain every pair of faults that may be sent together, and no other pair."""
    for command in CATALOG.commands.values():
        faults = declared_faults(command)
        sets = [sorted(faults.index(fault) for fault in wrong) for wrong in covering(faults)]
        assert {pair for places in sets for pair in combinations(places, 2)} == pairs(faults)

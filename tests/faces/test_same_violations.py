"""Tests that a command has the same violations over both APIs: the same codes, and pointers in each API's own names.

The faults are generated from the inputs that the catalogue declares. Each request has a fault in every input, and the
command must report all of them at once.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.core.inputs import InputField, input_fields
from app.core.text import camel
from app.resources.command import Command
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.faces.test_all_violations import HAND_WRITTEN, faults_of
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_graphql import commands
from tests.town import found_town

OTHERWISE = {**HAND_WRITTEN}
"""Commands that are not compared, with the reason."""
ONLY_REST = {("amend_measure", "code"): "a code never changes; GraphQL's input has no field for it"}
"""Inputs of commands that only one API has, with the reason."""


@pytest.fixture(scope="module")
async def rows(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with rows of all kinds."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def faults(declared: InputField) -> list[Any]:
    """Returns wrong values of an input that have the right type in both APIs, so that the service has to refuse
    them.
    """
    wrong = [value for kind, value in faults_of(declared) if kind != "shape"]
    if declared.between is not None and not declared.many:
        wrong += [declared.between.min - 1, min(declared.between.max + 1, 2**31 - 1)]
    return wrong


def wrong_inputs(command: Command) -> Iterator[dict[str, Any]]:
    """Yields sets of wrong inputs for a command, at most one wrong value for each input. Together, the sets contain
    every wrong value.
    """
    inputs = command.inputs
    declared = dict(input_fields(inputs.type)) if inputs.items is not None else dict(inputs.fields)
    by_name = {
        name: faults(each)
        for name, each in declared.items()
        if name not in command.path and (command.name, name) not in ONLY_REST
    }
    by_name = {name: each for name, each in by_name.items() if each}
    for turn in range(max(map(len, by_name.values()), default=0)):
        yield {name: each[turn % len(each)] for name, each in by_name.items()}


def in_rest(operation: Operation, rows: FullDistrict, command: Command, wrong: dict[str, Any]) -> Any:
    """Returns the body of a REST request in which the values of `wrong` replace valid values."""
    body = deepcopy(own_request(operation, rows).json)
    (body[str(command.items)][0] if command.inputs.items else body).update(wrong)
    return body


def in_graphql(variables: dict[str, Any], command: Command, wrong: dict[str, Any]) -> dict[str, Any]:
    """Returns the variables of a GraphQL operation in which the values of `wrong` replace valid values."""
    sent = deepcopy(variables)
    within = sent["input"][camel(str(command.items))][0] if command.inputs.items else sent["input"]
    within.update({camel(name): value for name, value in wrong.items()})
    return sent


def of_rest(problem: dict[str, Any]) -> set[tuple[str, str]]:
    """Returns the code and the pointer of each violation in a REST problem. Pointers get GraphQL's names."""
    listed = problem.get("violations", []) + [each for one in problem.get("results", []) for each in one["violations"]]
    return {(each["code"], "/".join(camel(step) for step in each["pointer"].split("/"))) for each in listed}


def of_graphql(payload: dict[str, Any]) -> set[tuple[str, str]]:
    """Returns the code and the pointer of each problem of a payload."""
    listed = payload["problems"] + [each for one in payload.get("results") or () for each in one["problems"]]
    return {(each["code"], each["pointer"]) for each in listed}


async def test_a_command_has_the_same_violations_over_both_apis(app: FastAPI, rows: FullDistrict) -> None:
    """A command reports the same violations for the same input over REST and GraphQL, all at once."""
    north, by_name = caller(app, rows.town), {each.name: each for each in operations(app)}
    mutations = {name: (document, variables) for name, document, variables, _ in commands(rows, None, deep=0)}
    different: list[Any] = []
    compared = 0
    for command in CATALOG.commands.values():
        operation = by_name[command.name]
        if command.name in OTHERWISE or operation.body is None:
            continue
        document, variables = mutations[camel(command.name)]
        for wrong in wrong_inputs(command):
            headers = {"If-Match": "*"} if operation.method == "PATCH" else {}
            path, body = own_request(operation, rows).path, in_rest(operation, rows, command, wrong)
            rest = (await north.ask(operation.method, path, json=body, headers=headers)).json()
            sent = {"query": document, "variables": in_graphql(variables, command, wrong)}
            graphql = (await north.post("/graphql", sent)).json()
            if "errors" in graphql:
                different.append((command.name, wrong, graphql["errors"]))
                continue
            one, other = of_rest(rest), of_graphql(graphql["data"][camel(command.name)])
            compared += 1
            missing = [name for name in wrong if not any(f"/{camel(name)}" in pointer for _, pointer in one)]
            if one != other or missing:
                different.append((command.name, one - other, other - one, missing))
    assert different == []
    assert compared > 30

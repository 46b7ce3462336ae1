"""Compares the scopes that both contracts state with the scopes that calls require."""

from typing import Any

from fastapi import FastAPI

from app.catalog import CATALOG
from app.rest.resources import router
from app.rest.route import Route
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.graphql_paths import Way, leaf_of, object_type, stated_scopes, ways
from tests.house.scopes import permissions_through
from tests.house.walk import operations, own_request
from tests.house.walk_graphql import commands, roots
from tests.house.walk_knows import OPEN

WITHOUT_ROW = {"SupportMeasure": "the district has no support with a further measure"}
"""Types of which the district has no row, so that nothing is refused."""
REFUSED = "permission.missing"
ANY_OF_ITS_SCOPES = {"node", "nodes"}
"""Fields that need the scopes of the kind of row that is asked for, of those that they state."""


async def refusals(
    app: FastAPI, district: FullDistrict, scopes: frozenset[str], query: str, variables: Any = None
) -> list[str]:
    """Sends a query, and returns the names of the fields that were refused because a scope was missing."""
    client = caller(app, district.town, scopes)
    answer = await client.post("/graphql", {"query": query, "variables": variables})
    body = answer.json()
    assert "data" in body, (query, body)
    codes = [(error["extensions"]["code"], error.get("path", ())) for error in body.get("errors", ())]
    assert {code for code, _ in codes} <= {REFUSED}, (query, body)
    return [next(step for step in reversed(path) if isinstance(step, str)) for _, path in codes]


async def test_each_mutation_requires_exactly_what_its_description_states(
    app: FastAPI, full_north: FullDistrict
) -> None:
    """Each mutation succeeds with exactly the scopes that it states, and is refused if one of them is missing."""
    wrong, compared = [], 0
    fields = roots("mutation")
    for name, document, variables, _ in commands(full_north, None, deep=0):
        scopes = stated_scopes(fields[name])
        for lacking in sorted(scopes):
            compared += 1
            if await refusals(app, full_north, scopes - {lacking}, document, variables) != [name]:
                wrong.append((name, "runs without", lacking))
        wrong += [
            (name, "is refused at", each) for each in await refusals(app, full_north, scopes, document, variables)
        ]
    assert wrong == []
    assert compared > 60


async def test_each_field_requires_exactly_what_its_description_states(app: FastAPI, full_north: FullDistrict) -> None:
    """Each field requires exactly the scopes in its description, in addition to the scopes of the fields above it.

    A client with only the scopes of the fields above can read all fields whose descriptions name no scope.
    """
    wrong, compared = [], 0

    async def refused(way: Way, scopes: frozenset[str], selection: str) -> list[str]:
        return await refusals(app, full_north, way.scopes | scopes, way.document(selection))

    for type_name, ways_of_type in ways(full_north).items():
        fields = object_type(type_name).fields
        plain = [leaf_of(name, each, full_north) for name, each in fields.items() if not stated_scopes(each)]
        selection = " ".join(each for each in plain if each != "totalCount") or "__typename"
        wrong += [(type_name, each) for each in await refused(ways_of_type[0], frozenset(), selection)]
        for name, field in fields.items():
            scopes = stated_scopes(field)
            if name in ANY_OF_ITS_SCOPES or type_name in WITHOUT_ROW or not scopes:
                continue
            leaf = leaf_of(name, field, full_north)
            wrong += [(type_name, each) for each in await refused(ways_of_type[0], scopes, leaf)]
            for lacking in scopes:
                others = [way for way in ways_of_type if lacking not in way.scopes]
                compared += bool(others)
                for way in others:  # by some ways there is no row, and then no refusal
                    if name in await refused(way, scopes - {lacking}, leaf):
                        break
                else:
                    wrong += [(f"{type_name}.{name}", lacking)] if others else []
    assert wrong == []
    assert compared > 90


def test_a_command_states_what_the_functions_that_it_calls_require() -> None:
    """Each command states the scopes of every function that it calls.

    Otherwise a call could be refused after the command has done a part of its work.
    """
    stated = {route.operation_id: set(route.stated_scopes) for route in router.routes if isinstance(route, Route)}
    wrong = {}
    for command in CATALOG.commands.values():
        if (declared := stated.get(command.name)) is None:
            continue
        missing = permissions_through(command.function) - declared - set(command.sometimes)
        unused = set(command.sometimes) - permissions_through(command.function)
        if missing or unused:
            wrong[command.name] = (missing, unused)
    assert wrong == {}


async def test_the_stated_scopes_are_enough_and_each_is_required(app: FastAPI, full_north: FullDistrict) -> None:
    """Each operation succeeds with exactly the scopes that it states, and is refused if one of them is missing."""
    contract = app.openapi()
    compared = 0
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        (security,) = contract["paths"][operation.path][operation.method.lower()]["security"]
        scopes = frozenset(security["oauth2"])
        request = own_request(operation, full_north)
        for lacking in sorted(scopes):
            few = caller(app, full_north.town, scopes - {lacking})
            answer = await few.ask(operation.method, request.path, **request.body)
            assert answer.status_code == 403, (operation.name, lacking, answer.text)
            compared += 1
        answer = await caller(app, full_north.town, scopes).ask(operation.method, request.path, **request.body)
        assert answer.status_code != 403, (operation.name, answer.text)
    assert compared > 80

"""Holds the scopes that the contracts state to those that calls require."""

from fastapi import FastAPI

from app.catalog import CATALOG
from app.rest.resources import router
from app.rest.route import Route
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.scopes import permissions_through
from tests.house.walk import operations, own_request
from tests.house.walk_knows import OPEN


def test_a_command_states_what_the_functions_that_it_calls_require() -> None:
    """A caller with the stated scopes is never refused halfway, by a function deep inside of a command."""
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
    """Each operation is called with exactly its scopes, and again without each one of them."""
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

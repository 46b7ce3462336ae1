"""Sends unusual values in every argument and input field of GraphQL, over real HTTP.

Each request is answered without an internal error. No text of a request is in the log of PostgreSQL or of the process.
"""

import asyncio
import json
import secrets
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from graphql import (
    GraphQLInputObjectType,
    GraphQLList,
    OperationDefinitionNode,
    VariableDefinitionNode,
    get_nullable_type,
    get_variable_values,
    parse,
    type_from_ast,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.faces.graphql_face import token
from tests.faces.rest_town import caller
from tests.faces.served_api import served_api
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk_graphql import CORE, commands, reads
from tests.processes import TRUSTS_NOBODY
from tests.town import Town, found_town, maintain

MB = 1 << 20
DAYS = ("0001-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
NUMBERS = (1e308, -1e308, 5e-324, 0, -1, 2**31, 2**63, 10**400)
OTHERS: tuple[Any, ...] = (None, True, [], {})
SENDERS = 4
Request = dict[str, Any]


def texts(word: str) -> Iterator[str]:
    """Yields hostile texts with the district's canary (a word that no other district has), and the earliest and latest
    dates.
    """
    yield from (word, word.lower(), f"{word}\0", f"{word}\ud800", f"2026-02-30{word}", f"sis:{word}:a")
    yield from (word * 400, word + "x" * MB, "", "\N{ZERO WIDTH SPACE}")
    yield from DAYS


def hostile(value: Any, word: str) -> Iterator[Any]:
    """Yields the hostile values that are sent in place of `value`. Hostile texts contain `word`."""
    if isinstance(value, str):
        yield from texts(word)
    else:
        yield from (word, *DAYS)
    yield from NUMBERS
    yield from OTHERS


def requests(district: FullDistrict, word: str) -> Iterator[Request]:
    """Yields every query and mutation with hostile values: one request for each argument, field and value.

    A value that GraphQL refuses because of its type never reaches the product. Such values are sent once for each type,
    and at least one is sent for each argument.
    """
    documents = [(document, variables) for _, document, variables in reads(district) if variables]
    places, refused = set(), set()
    for document, variables in [*documents, *((text, given) for _, text, given, _ in commands(district, None))]:
        for path in list(leaves(variables)):
            if (document, path) in places:
                continue  # another good value of the same argument
            places.add((document, path))
            good, is_first = at(variables, path), True
            type_ = type_at(document, path)
            for which, value in enumerate(hostile(good, word)):
                given = changed(variables, path, value)
                if is_refused(document, given):
                    kind = type_, isinstance(good, str), which
                    if kind in refused and not is_first:
                        continue
                    refused.add(kind)
                    is_first = False
                yield {"query": document, "variables": given}
    for text in texts(word):
        yield {"query": text}
        yield {"query": "query Q { areas { code } }", "operationName": text}
        yield {"query": "query($first: Int) { areas { code } }", "variables": {text: text}}
        for literal in (json.dumps(text), json.dumps(text, ensure_ascii=False), f'"""{text}"""'):
            yield {"query": f"{{ student(id: {literal}) {{ id }} }}"}
            yield {
                "query": f'mutation {{ removeScore(input: {{scoreId: "x", because: {literal}}}) {{ score {{ id }} }} }}'
            }
    for number in ("1e999", "-1e999", "1e308", "9" * 400, "0x10", "-0", "1e-999"):
        yield {"query": f"{{ students(first: {number}) {{ edges {{ cursor }} }} }}"}
    # At the end, what is carried out.
    yield from ({"query": document, "variables": given} for _, document, given, _ in commands(district, None))


@pytest.mark.long
async def test_no_value_is_a_fault_or_is_logged(
    engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings, server_log: Path, tmp_path: Path
) -> None:
    """No hostile value causes an internal error or is logged, and every resulting row can be read."""
    word, own_log = f"Zanary{secrets.token_hex(6)}", tmp_path / "api.log"
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    limits = {"AIMLINE_DISTRICT_REQUESTS": "10000000", "AIMLINE_CLIENT_REQUESTS": "10000000"}
    limits["AIMLINE_GRAPHQL_SECONDS"] = "120"  # a loaded machine may take longer than the product's 10
    with served_api(settings, own_log, **limits) as (_, address):
        faults, sent = await _send(address, token(district.town), requests(district, word))
        repeated, _ = await _send(
            address, token(district.town), ({"query": text, "variables": v} for _, text, v in reads(district))
        )
    await maintain(district.town)
    assert faults + repeated == []
    assert sent > 1500
    print(f"{sent} requests")  # noqa: T201  # a figure for the log
    for log in (server_log, own_log):
        logged = await asyncio.to_thread(log.read_text, errors="replace")
        lines = [line[:300] for line in logged.splitlines() if word.lower() in line.lower()]
        assert lines == [], f"{len(lines)} lines of {log.name}"
    assert "POST" in await asyncio.to_thread(own_log.read_text)


async def test_a_null_that_may_only_be_left_out_is_the_callers(app: FastAPI, north: Town) -> None:
    """A name that is null in an amendment is refused as an error of the caller.

    It once caused an internal error, because the GraphQL library reports such a null late.
    """
    query = "mutation($input: AmendMeasureInput!) { amendMeasure(input: $input) { measure { name } } }"
    variables = {"input": {"measure": "orf", "name": None}}
    answer = await caller(app, north).post("/graphql", {"query": query, "variables": variables})
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert (error["extensions"]["code"], error["path"]) == ("request.malformed", ["amendMeasure"])
    assert "null" in error["message"]
    assert "Maybe" not in error["message"]


async def _send(address: str, bearer: str, requests: Iterator[Request]) -> tuple[list[Any], int]:
    """Sends all requests, several at once. Returns those that caused an internal error, and the number of requests."""
    faults: list[Any] = []
    sent = 0
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}

    async def send() -> None:
        nonlocal sent
        async with httpx.AsyncClient(trust_env=False, verify=TRUSTS_NOBODY, base_url=address, timeout=60) as client:
            for request in requests:
                body = json.dumps(request)  # as ASCII, so that half a surrogate can be sent at all
                twice = [client.post("/graphql", content=body, headers=headers) for _ in range(1 + (sent % 5 == 0))]
                for answer in await asyncio.gather(*twice):
                    sent += 1
                    codes = [error["extensions"]["code"] for error in answer.json().get("errors", ())]
                    if answer.status_code >= 500 or "internal" in codes:
                        faults.append((answer.status_code, codes, body[:1000]))

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    return faults, sent


@lru_cache(maxsize=1)  # all values of a document follow each other
def variables_of(document: str) -> tuple[VariableDefinitionNode, ...]:
    """Returns the variables that a document declares."""
    (operation,) = parse(document).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return tuple(operation.variable_definitions or ())


def is_refused(document: str, variables: dict[str, Any]) -> bool:
    """Returns whether the types of a document's variables refuse these values, so that nothing is carried out."""
    return isinstance(get_variable_values(CORE, variables_of(document), variables, max_errors=1), list)


def type_at(document: str, path: tuple[Any, ...]) -> str:
    """Returns the type of a place in the variables of a document. For a place within a scalar, it is the scalar's
    type.
    """
    name, *steps = path
    (definition,) = (one for one in variables_of(document) if one.variable.name.value == name)
    type_: Any = type_from_ast(CORE, definition.type)
    for step in steps:
        inner = get_nullable_type(type_)
        if isinstance(inner, GraphQLInputObjectType):
            type_ = inner.fields[step].type
        elif isinstance(inner, GraphQLList):
            type_ = inner.of_type
    return str(type_)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the paths of all scalars, empty lists and empty objects in a JSON document."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """Returns the value at a path."""
    for key in path:
        value = value[key]
    return value


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Returns a copy of `value` in which the value at `path` is replaced by `new`."""
    copy = deepcopy(value)
    at(copy, path[:-1])[path[-1]] = new
    return copy

"""Tests that the requests and GraphQL documents in the pages of `docs` are as the contracts say, so that they work."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
import orjson
import pytest
from graphql import build_schema, parse, validate

from tests.faces.documented import COMPONENTS, METHODS, Contract, committed_contract
from tests.processes import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
REQUEST = re.compile(rf"^({'|'.join(sorted(METHODS))}) +(/v1/\S*) *(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(rf"`({'|'.join(sorted(METHODS))}) (/v1/[^`\s]+)`")
AND_SO_ON = re.compile(r",\s*…(?=\s*[}\]])")
"""What stands for further members of an object or a list."""
ID = re.compile(r'"([a-z]{3})_…"')
AT_LEAST = 30
"""The smallest number of requests in all pages; otherwise the test would have missed most of them."""


@dataclass(frozen=True)
class Example:
    """A request in a page of the documentation.

    `body` is None if the request has no body. `is_whole` is false if the page leaves out members of the body.
    """

    page: str
    method: str
    path: str
    query: dict[str, str]
    body: Any
    is_whole: bool


def requests(name: str, page: str) -> Iterator[Example]:
    """Yields the requests in the code blocks and in the text of a page.

    In a code block, the body of a request may begin on the next line.
    """
    for _, block in BLOCK.findall(page):
        for method, address, rest in REQUEST.findall(block.replace("\n{", "\n {").replace("\n}", "\n }")):
            path, _, query = address.partition("?")
            text = rest.strip()
            shortened = AND_SO_ON.sub("", text)
            body = json.loads(ID.sub(rf'"\1_{"0" * 26}"', shortened)) if text.startswith(("{", "[")) else None
            is_whole = shortened == text and "…}" not in text
            yield Example(name, method, path, dict(parse_qsl(query)), body, is_whole)
    for method, address in INLINE.findall(BLOCK.sub("", page)):
        path, _, query = address.partition("?")
        yield Example(name, method, path, dict(parse_qsl(query)), None, is_whole=True)


def faults(contract: Contract, example: Example) -> list[str]:
    """Returns what the contract does not allow in an example: the path, a parameter, or a member of the body."""
    operation = contract.operation(example.method, re.sub(r"[^/]*…[^/]*", "x", example.path))
    if operation is None:
        return [f"there is no {example.method} {example.path}"]
    known = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    faults = [f"no parameter {name}" for name in example.query if name not in known]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if example.body is None or content is None:
        return faults if example.body is None else [*faults, "takes no body"]
    schema = orjson.loads(
        orjson.dumps(content["schema"]).replace(b"#/components", f"{COMPONENTS}#/components".encode())
    )
    components = {"components": contract.document["components"]}
    registry = jsonschema_rs.Registry([(COMPONENTS, components)], draft=jsonschema_rs.Draft202012)
    for error in jsonschema_rs.Draft202012Validator(schema, registry=registry).iter_errors(example.body):
        if example.is_whole or '"required"' not in json.dumps(str(error.kind)):
            faults.append(error.message)
    return faults


def test_a_wrong_example_is_found() -> None:
    """The comparison finds a wrong path, parameter, member and value, and a member that is missing."""
    lines = (
        "GET /v1/nothing",
        "GET /v1/concerns?nothing=1",
        'POST /v1/teams  {"nam": "x"}',
        'POST /v1/teams\n{"name": 3}',
    )
    page = "```\n" + "\n".join(lines) + "\n```\n"
    assert [bool(faults(committed_contract(), one)) for one in requests("page", page)] == [True] * len(lines)


def test_every_request_of_the_pages_is_in_the_contract() -> None:
    """Every request in the documentation has a path, parameters and a body that the contract allows."""
    examples = [one for path in PAGES for one in requests(path.name, path.read_text())]
    assert len(examples) >= AT_LEAST
    checked = [(one, faults(committed_contract(), one)) for one in examples]
    wrong = [f"{one.page}: {one.method} {one.path}: {'; '.join(problems)}" for one, problems in checked if problems]
    assert wrong == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_graphql_document_of_the_pages_is_valid(path: Any) -> None:
    """A GraphQL document that is copied from the documentation is valid for the schema."""
    schema = build_schema((REPOSITORY / "openapi" / "schema.graphql").read_text())
    for language, block in BLOCK.findall(path.read_text()):
        if language == "graphql":
            assert [error.message for error in validate(schema, parse(block))] == []

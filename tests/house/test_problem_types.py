"""Tests the list of problems: it has every code that the service can answer, no other, and a page for each."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.core.errors import AimlineError
from app.rest.problem_types import PAGES, PROBLEM_TYPES
from tests.faces.rest_town import plain
from tests.house.source import APP

COMMAND_LINE = ("cli", "sandbox")
"""Packages whose errors only an operator sees."""
NOT_PROBLEMS = {"OAuthError", "Violation", "ViolationShape", "Problem", "Reason"}
"""Classes with a code that is no problem's."""
CODE = re.compile(r"[a-z_]+(\.[a-z_]+)?")


def _trees() -> Iterator[ast.Module]:
    for path in sorted(Path(APP).rglob("*.py")):
        if path.relative_to(APP).parts[0] not in COMMAND_LINE:
            yield ast.parse(path.read_text())


def _errors(kind: type[AimlineError] = AimlineError) -> Iterator[type[AimlineError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _errors(inner)


def _named(call: ast.Call) -> Iterator[ast.expr]:
    """Yields the expressions in a call that state the code of a problem."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name[:1].isupper() and name not in NOT_PROBLEMS:
        yield from (word.value for word in call.keywords if word.arg == "code")
    if name in ("problem", "_gone", "too_much") or (
        name == "_refuse" and len(call.args) == 3 and _is_status(call.args[0])
    ):
        yield from (argument for argument in call.args[:3] if isinstance(argument, ast.Constant))


def _is_status(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) and isinstance(argument.value, int)


def _codes() -> set[str]:
    codes = {
        value.value
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for value in _named(node)
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and CODE.fullmatch(value.value)
    }
    return codes | {error.code for error in _errors() if error.__module__.startswith("app.")}


def test_every_code_is_listed_and_every_listed_code_exists(app: FastAPI) -> None:
    """Every problem code in the source code is listed, and every listed code is used."""
    text = "\n".join(path.read_text() for path in sorted(Path(APP).rglob("*.py")) if path.name != "problem_types.py")
    codes = {code for code in _codes() if code not in COMMAND_LINE_CODES}
    assert codes - PROBLEM_TYPES.keys() == set()
    assert [code for code in PROBLEM_TYPES if f'"{code}"' not in text] == []


COMMAND_LINE_CODES = {"invalid_request", "invalid_client", "invalid_scope"}
"""OAuth's own codes, which have no pages."""


@pytest.mark.parametrize("code", sorted(PROBLEM_TYPES))
async def test_every_problem_has_a_page(app: FastAPI, code: str) -> None:
    """Every problem has a page with its code, status and advice, which loads nothing else."""
    problem = PROBLEM_TYPES[code]
    async with plain(app) as client:
        answer = await client.get(f"{PAGES}{code}")
    assert answer.status_code == 200
    assert all(text in answer.text for text in (code, str(problem.status), problem.title.split("'")[0]))
    assert problem.advice.endswith(".")
    assert not re.search(r"<script|<link|<img|src=", answer.text)


async def test_the_pages_are_listed_and_no_other_exists(app: FastAPI) -> None:
    """The index of problem pages links to each page, and an unknown code gives 404."""
    async with plain(app) as client:
        index = await client.get(PAGES)
        unknown = await client.get(f"{PAGES}no.such")
    assert [code for code in PROBLEM_TYPES if f'href="{code}"' not in index.text] == []
    assert (unknown.status_code, unknown.json()["code"]) == (404, "route.unknown")


async def test_the_type_of_a_problem_is_the_address_of_its_page(app: FastAPI) -> None:
    """The `type` of a problem is a URL, and the page at this URL explains the problem."""
    async with plain(app) as client:
        refused = (await client.get("/v1/students")).json()
        page = await client.get(refused["type"].removeprefix(app.state.services.base_url))
    assert refused["type"] == f"{app.state.services.base_url}{PAGES}unauthenticated"
    assert (page.status_code, refused["code"]) == (200, "unauthenticated")
    assert refused["title"] == PROBLEM_TYPES["unauthenticated"].title

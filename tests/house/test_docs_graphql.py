"""Tests that `docs/graphql.md` states the limits of the code, and every code of a refusal."""

import re
from dataclasses import fields

from app.graphql.limits import Limits
from tests.house.source import APP
from tests.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "graphql.md").read_text()
CODE = re.compile(r'"((?:document|variables|introspection|cost|answer|operation)\.[a-z_]+)"')
ELSEWHERE = {"operation.unknown", "operation.too_much", "variables.malformed"}
"""Codes of refusals that belong to no limit of the page."""
UNTOLD = {"printed"}
"""A limit of the library that no client meets, and that the page leaves out."""


def test_the_page_tells_every_limit() -> None:
    """The page about GraphQL states every limit with its current value."""
    limits = Limits()
    numbers = re.findall(r"\d+", PAGE)
    for field in fields(limits):
        if field.name not in UNTOLD:
            assert f"{getattr(limits, field.name):.0f}" in numbers, field.name


def test_the_page_tells_every_code() -> None:
    """The page lists every code of a refusal, so that a client can look it up."""
    codes = {code for path in (APP / "graphql").glob("*.py") for code in CODE.findall(path.read_text())}
    assert len(codes - ELSEWHERE) > 10
    assert [code for code in sorted(codes - ELSEWHERE) if f"`{code}`" not in PAGE] == []

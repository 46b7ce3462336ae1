"""Tests that a violation of the declared types is described by one of the product's own sentences.

Every error of the validation library that the contract can cause is tested.
"""

import re
from typing import Any, get_args

import pytest
from fastapi import FastAPI
from pydantic_core.core_schema import ErrorType

from app.rest.violation_words import OTHER, OWN, PREFIXES, WORDS, words_of
from tests.faces.rest_town import caller
from tests.house.walk import operations
from tests.house.walk_knows import OPEN
from tests.town import Town

LIBRARY = ("Input should", "Field required", "Extra inputs", "Value error")
OURS = {*WORDS.values(), *(words for _, words in PREFIXES), OTHER}
WRONG: tuple[Any, ...] = (None, 7, 7.5, -(10**30), True, "x", "", "2026-13-45", "0001-01-01T00:00:00", "\ud800", [], {})


def is_ours(detail: str) -> bool:
    """Returns whether a sentence is one of the product's own sentences. Its placeholders may have any values."""
    return any(re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(words)) + r"\.", detail) for words in OURS)


@pytest.mark.parametrize("type_", get_args(ErrorType))
def test_each_error_of_the_library_has_words_of_ours(type_: Any) -> None:
    """For every type of error of the validation library, the product has a sentence of its own."""
    context = {
        "min_length": 1,
        "max_length": 2,
        "expected": "a or b",
        "ge": 0,
        "le": 1,
    }
    assert is_ours(words_of({"type": type_, "msg": "Input should be a library's word", "ctx": context}))
    assert is_ours(words_of({"type": type_, "msg": "Input should be a library's word"}))


async def test_every_violation_of_the_shapes_is_plain(app: FastAPI, north: Town) -> None:
    """Wrong types in any field give violations in the product's own sentences, not in those of the validation
    library.
    """
    asks, seen = caller(app, north), 0
    for operation in operations(app):
        if operation.name in OPEN or operation.body is None:
            continue
        for value in WRONG:
            body = dict.fromkeys(operation.body["properties"], value)
            path = re.sub(r"\{\w+\}", "none", operation.path)
            if value == "\ud800":
                continue  # no client can send it as UTF-8
            answer = await asks.ask(operation.method, path, json=body, headers={"If-Match": "*"})
            for violation in answer.json().get("violations", []):
                seen += 1
                detail, code = violation["detail"], violation["code"]
                assert detail.endswith("."), violation
                assert not detail.startswith(("Input should", "Field required", "Extra inputs", "Value error")), (
                    violation
                )
                if code.startswith("shape.") and code.removeprefix("shape.") not in OWN:
                    assert is_ours(detail) or "characters" in detail or "items" in detail, (operation.name, violation)
    assert seen > 300

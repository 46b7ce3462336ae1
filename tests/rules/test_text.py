"""Tests the maximum lengths of texts that are declared for inputs, including nested inputs."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from app.concern.service import NewConcern
from app.core.errors import Invalid
from app.core.text import Text, quote_formula, texts_of
from app.core.violations import Violations, input_violations
from app.decision.service import NewDecision
from app.support.service import SupportChange


@dataclass(frozen=True)
class _Input:
    name: Annotated[str, Text(min=2, max=4)]
    note: Annotated[str, Text(max=3)] | None = None


def test_what_is_declared_is_found() -> None:
    """The text lengths that an input type declares are read, also for a field that may be None."""
    assert texts_of(_Input) == {"name": Text(min=2, max=4), "note": Text(max=3)}
    assert texts_of(NewConcern) == {"description": Text(min=1, max=4000)}


@pytest.mark.parametrize(
    ("new", "violations"),
    [
        (_Input("ab"), []),
        (_Input("abcd", "abc"), []),
        (_Input("a"), [("/name", "shape.string_too_short")]),
        (_Input("abcde", "abcd"), [("/name", "shape.string_too_long"), ("/note", "shape.string_too_long")]),
        (NewDecision("change", change=SupportChange("")), [("/change/because", "shape.string_too_short")]),
    ],
)
def test_every_violation_is_named_with_its_place(new: object, violations: list[tuple[str, str]]) -> None:
    """Every text that is too long is reported with its place, also in nested inputs.

    A text at its limit is accepted.
    """
    assert [(one.pointer, one.code) for one in input_violations(new)] == violations


def test_what_does_not_fit_is_refused_for_every_caller() -> None:
    """A service refuses texts that are too long from every caller, and does not repeat them in the error."""
    with pytest.raises(Invalid) as refused:
        Violations(input_violations(_Input("secret"))).refuse()
    assert all("secret" not in one.detail for one in refused.value.violations)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(first: str) -> None:
    """A text that a spreadsheet would run as a formula gets an apostrophe.

    This includes full-width signs and texts that begin with a tab or a line end. Any other text stays as it is.
    """
    assert quote_formula(f'{first}HYPERLINK("https://example.org")')[0] == "'"
    assert [quote_formula(text) for text in ("", "Anna", "a=b", "'x")] == ["", "Anna", "a=b", "'x"]

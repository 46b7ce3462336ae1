"""Tests that in errors and in the contract, a number is followed by a noun in the right form."""

import pytest

from app.catalog import CATALOG
from app.core.plural import noun_of

BULK = [str(command.items) for command in CATALOG.commands.values() if command.bulk]


@pytest.mark.parametrize("items", BULK)
def test_a_number_of_items_is_followed_by_a_noun_in_the_plural(items: str) -> None:
    """A number of items is followed by a plural, and not, for example, by `attendance` or `action_items`."""
    noun = noun_of(items)
    assert "_" not in noun
    assert noun != "attendance"
    assert noun.split()[0].endswith("s") or noun.split()[-1].endswith("s")


def test_the_known_nouns() -> None:
    """`noun_of` returns "attendance records" for `attendance`, and "action items" for `action_items`."""
    assert noun_of("attendance") == "attendance records"
    assert noun_of("action_items") == "action items"
    assert noun_of("notes") == "notes"

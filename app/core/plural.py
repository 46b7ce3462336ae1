"""Writes numbers with their nouns."""

from typing import Final

NAMED_OTHERWISE: Final = {"attendance": "attendance records", "interventions": "entries of the library"}
"""The nouns of items of a bulk command whose field is not named by the noun in the plural."""


def pluralize(count: int, singular: str, plural: str) -> str:
    """Returns a number with its noun in the singular or plural, such as `1 change` or `2 changes`."""
    return f"{count:,} {singular if count == 1 else plural}"


def noun_of(items: str) -> str:
    """Returns the plural noun for the items of a bulk command. `items` is the name of the field that lists the items.

    For example, `team_members` gives `team members`. The noun is used after a number.
    """
    return NAMED_OTHERWISE.get(items, items.replace("_", " "))

"""Validates new areas and levels, and the lists that reorder them. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.errors import Violation
from app.core.violations import Violations, broken_rules

MAX_NAME_LENGTH: Final = 200
MAX_CODE_LENGTH: Final = 63
MAX_AREAS: Final = 2000
MAX_LEVELS: Final = 50
_CODE = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)*")
"""Matches the code of an area. The characters `:`, `/`, `*` and `_` are not allowed, because they have a meaning in
the keys of rules, in scopes and in ids.
"""


def parent_code(code: str) -> str | None:
    """Returns the code of the parent of the area `code`, or None if the area has no parent.

    For example, the parent of `ela.fluency` is `ela`.
    """
    return code.rpartition(".")[0] or None


def violations_of_area(values: Mapping[str, Any]) -> Violations:
    """Returns the violations in the code and the name of a new area.

    A value that was malformed in the request (`Unread`) is not checked.
    """
    return broken_rules((_violations_of_code, _violations_of_name), values)


def violations_of_name(name: str) -> list[Violation]:
    """Returns the violations in the name of an area or a level."""
    if name.strip() and "\x00" not in name:
        return []
    return [Violation("/name", "structure.name", "Give a name that is not blank.")]


def _violations_of_name(values: Mapping[str, Any]) -> list[Violation]:
    return violations_of_name(values["name"])


def _violations_of_code(values: Mapping[str, Any]) -> list[Violation]:
    code = values["code"]
    if _CODE.fullmatch(code) and len(code) <= MAX_CODE_LENGTH:
        return []
    detail = (
        "A code has lower-case letters, digits and hyphens, and a dot between it and the code of the area above, "
        f"{MAX_CODE_LENGTH} characters at most."
    )
    return [Violation("/code", "area.code", detail)]


def violations_of_rank(rank: int, highest: int) -> list[Violation]:
    """Returns the violations in the rank of a new level; `highest` is the highest rank in force."""
    if 1 <= rank <= highest + 1:
        return []
    return [Violation("/rank", "level.rank", f"A new level has a rank from 1 to {highest + 1}.")]


def repeated(ids: Sequence[object], pointer: str, code: str) -> list[Violation]:
    """Returns a violation for each item that repeats an earlier item of the list."""
    first_places: dict[object, int] = {}
    return [
        Violation(f"{pointer}/{place}", code, "This is listed twice.")
        for place, each in enumerate(ids)
        if first_places.setdefault(each, place) != place
    ]


def renumbered(ordered: Sequence[Any], attribute: str) -> dict[Any, int]:
    """Returns the rows whose number must change because of a new order, each with its new number.

    `ordered` has all rows in their new order, which get the numbers from 1. `attribute` is the name of the attribute
    that has a row's number.
    """
    return {row: place for place, row in enumerate(ordered, 1) if getattr(row, attribute) != place}

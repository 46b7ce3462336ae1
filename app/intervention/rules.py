"""Defines the states of an entry of the intervention library, and validates entries. Pure."""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final

from app.core.errors import Violation
from app.core.violations import Violations, broken_rules

CODE: Final = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
MAX_AT_ONCE: Final = 500
"""The largest number of entries in one request or file."""
MAX_ENTRIES: Final = 500
"""The largest number of entries of a library that are drafts or published. An export contains all published ones."""
MAX_PARTS: Final = 50
MAX_PART: Final = 400
MAX_MINUTES: Final = 480
MAX_SESSIONS: Final = 25
MAX_GROUP: Final = 40
LISTS: Final = ("areas", "levels", "steps", "checklist", "languages")
"""The fields of an entry that are lists."""


class InterventionState(StrEnum):
    """The state of a version of an entry. Only a published one can be chosen for a support."""

    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


def violations_of(new: Any, at: str = "") -> Violations:
    """Returns every violation of an entry's own values; `at` is the JSON Pointer of the entry."""
    rules: tuple[Callable[[Any, str], Iterator[Violation]], ...] = (_code, _numbers, _group, _parts, _languages, _twice)
    return broken_rules(rules, new, at)


def _code(new: Any, at: str) -> Iterator[Violation]:
    if not CODE.fullmatch(new.code):
        detail = "A code has small letters and digits, with `-`, `_` or `.` between them."
        yield Violation(f"{at}/code", "intervention.code", detail)


def _numbers(new: Any, at: str) -> Iterator[Violation]:
    limits = (("minutes_per_session", MAX_MINUTES), ("sessions_per_week", MAX_SESSIONS))
    for name, most in (*limits, ("group_from", MAX_GROUP), ("group_to", MAX_GROUP)):
        value = getattr(new, name)
        if value is not None and not 1 <= value <= most:
            yield Violation(f"{at}/{name}", "intervention.range", f"A whole number from 1 to {most}.")


def _group(new: Any, at: str) -> Iterator[Violation]:
    if new.group_from is not None and new.group_to is not None and new.group_from > new.group_to:
        detail = "The largest group is not smaller than the smallest."
        yield Violation(f"{at}/group_to", "intervention.group_size", detail)


def _parts(new: Any, at: str) -> Iterator[Violation]:
    for name in ("steps", "checklist"):
        for place, part in enumerate(getattr(new, name)):
            if not 1 <= len(part) <= MAX_PART:
                yield Violation(f"{at}/{name}/{place}", "intervention.part", f"1 to {MAX_PART} characters.")
        if len(getattr(new, name)) > MAX_PARTS:
            yield Violation(f"{at}/{name}", "intervention.parts", f"At most {MAX_PARTS}.")


def _languages(new: Any, at: str) -> Iterator[Violation]:
    for place, language in enumerate(new.languages):
        if not LANGUAGE.fullmatch(language):
            detail = "A language is a BCP 47 tag, such as `en` or `es-MX`."
            yield Violation(f"{at}/languages/{place}", "intervention.language", detail)


def _twice(new: Any, at: str) -> Iterator[Violation]:
    for name in LISTS:
        seen: set[Any] = set()
        for place, value in enumerate(getattr(new, name)):
            if value in seen:
                yield Violation(f"{at}/{name}/{place}", "intervention.doubled", "This is in the list already.")
            seen.add(value)

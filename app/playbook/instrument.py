"""Owns what makes a measure fit to be kept, and what of it may change once it is in use. Pure; reads nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from app.core.errors import Violation

DIRECTIONS = ("up", "down")
KINDS = ("growth", "count", "percentage", "criterion")
CODE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
"""No colon, slash or star: a version keeps rules by code beside `area:…`, `school:…/…` and `*`."""
LONGEST_NAME, LONGEST_UNIT, LONGEST_FORM, MOST_FORMS = 200, 100, 100, 500
FURTHEST = 1e9
STAYS = {"direction": "direction", "kind": "kind", "area_id": "area"}
"""Column and field of what a score or a support is nothing without."""


@dataclass(frozen=True, slots=True)
class Use:
    """What rests on a measure: whether it has scores or supports, and of its kept scores the least, the greatest, and
    how many have a form that is not in the list as it would be."""

    used: bool
    least: float | None
    greatest: float | None
    unlisted: int


UNUSED = Use(used=False, least=None, greatest=None, unlisted=0)


def violations_of(told: Mapping[str, Any]) -> list[Violation]:
    """Everything wrong with a measure by itself, by the pointers of the input's fields."""
    found = []
    if not CODE.fullmatch(told["code"]):
        detail = (
            "A code has lower-case letters, digits, dots and hyphens, 63 at most; it begins with a letter or digit."
        )
        found.append(Violation("/code", "measure.code", detail))
    for name, most in (("name", LONGEST_NAME), ("unit", LONGEST_UNIT)):
        if not _text(told[name], most):
            found.append(Violation(f"/{name}", f"measure.{name}", f"Give a text of 1 to {most} characters."))
    for name, choices in (("direction", DIRECTIONS), ("kind", KINDS)):
        if told[name] not in choices:
            found.append(Violation(f"/{name}", f"measure.{name}", f"Choose one of {', '.join(choices)}."))
    return [*found, *_range(told["lowest"], told["highest"], told["sem"]), *_forms(told["forms"])]


def against(use: Use, changed: Mapping[str, Any]) -> list[Violation]:
    """What of a change would leave scores that are there without meaning; `changed` by column."""
    found = []
    for column, field in STAYS.items():
        if column in changed and use.used:
            detail = f"This measure has scores or supports: its {field} stays. Make another measure."
            found.append(Violation(f"/{field}", "measure.in_use", detail))
    beyond = "There are scores {} this. Amend or remove them first."
    if use.least is not None and changed.get("lowest", use.least) > use.least:
        found.append(Violation("/lowest", "measure.scores_outside", beyond.format("below")))
    if use.greatest is not None and changed.get("highest", use.greatest) < use.greatest:
        found.append(Violation("/highest", "measure.scores_outside", beyond.format("above")))
    if use.unlisted and changed.get("forms") is not None:
        detail = f"List every form that scores have: {use.unlisted} of them have one that is not listed; or give null."
        found.append(Violation("/forms", "measure.form_in_use", detail))
    return found


def _range(lowest: float, highest: float, sem: float | None) -> list[Violation]:
    if not all(isfinite(one) and abs(one) <= FURTHEST for one in (lowest, highest)) or lowest >= highest:
        detail = f"The lowest value lies below the highest, both within {FURTHEST:.0f} of zero."
        return [Violation("/highest", "measure.range", detail)]
    if sem is not None and not 0 < sem < highest - lowest:
        detail = "A standard error of measurement is above zero and under the measure's whole range; null: not known."
        return [Violation("/sem", "measure.sem", detail)]
    return []


def _forms(forms: Sequence[str] | None) -> list[Violation]:
    if forms is None:
        return []
    found = []
    if not 1 <= len(forms) <= MOST_FORMS:
        detail = f"List 1 to {MOST_FORMS} forms, or give null where any form is taken."
        found.append(Violation("/forms", "measure.forms", detail))
    for place, form in enumerate(forms):
        if not _text(form, LONGEST_FORM):
            detail = f"Give a text of 1 to {LONGEST_FORM} characters."
            found.append(Violation(f"/forms/{place}", "measure.form", detail))
        elif form in forms[:place]:
            found.append(Violation(f"/forms/{place}", "measure.form_doubled", "This form is listed before."))
    return found


def _text(text: str, most: int) -> bool:
    return bool(text.strip()) and len(text) <= most and "\x00" not in text

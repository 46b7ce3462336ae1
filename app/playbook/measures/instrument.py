"""Validates a measure, and decides which of its fields may change while the measure is in use. Uses no database."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from app.core.errors import Violation
from app.core.violations import Violations, broken_rules
from app.playbook.measures.noise import ranges_as_stored, violations_of_ranges


class Direction(StrEnum):
    """The direction in which scores improve."""

    UP = "up"
    DOWN = "down"


class MeasureKind(StrEnum):
    """The kinds of measures. Each is judged by rules of its own."""

    GROWTH = "growth"
    COUNT = "count"
    PERCENTAGE = "percentage"
    CRITERION = "criterion"


DIRECTIONS, KINDS = tuple(Direction), tuple(MeasureKind)
CODE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
"""Matches a valid code. The characters `:`, `/` and `*` are not allowed, because they have a meaning in the key of a
rule: `area:…`, `school:…/…`, `*`.
"""
MAX_NAME_LENGTH, MAX_UNIT_LENGTH, MAX_FORM_LENGTH, MAX_FORMS = 200, 100, 100, 500
MAX_VALUE = 1e9
FIXED_IN_USE = {"direction": "direction", "kind": "kind", "area_id": "area"}
"""The columns that cannot change once a measure has a score or a support, mapped to the names of the input's fields."""


@dataclass(frozen=True, slots=True)
class MeasureUse:
    """How a measure is used. Some changes of a measure are not allowed while it is used.

    * `used` is true if the measure has scores or supports.
    * `least` and `greatest` are the lowest and the highest value of its scores.
    * `unlisted` is the number of scores from forms (versions of the test) that are not in the new list of forms.
    """

    used: bool
    least: float | None
    greatest: float | None
    unlisted: int


NOT_IN_USE = MeasureUse(used=False, least=None, greatest=None, unlisted=0)


Rule = Callable[[Mapping[str, Any]], list[Violation]]


def violations_of(values: Mapping[str, Any]) -> Violations:
    """Returns the violations in the values of a measure, with pointers to the input's fields.

    A value that was malformed in the request (`Unread`) is not checked.
    """
    return broken_rules(_RULES, values)


def _violations_of_code(values: Mapping[str, Any]) -> list[Violation]:
    if CODE.fullmatch(values["code"]):
        return []
    detail = "A code has lower-case letters, digits, dots and hyphens, 63 at most; it begins with a letter or digit."
    return [Violation("/code", "measure.code", detail)]


def _text_rule(name: str, most: int) -> Rule:
    def rule(values: Mapping[str, Any]) -> list[Violation]:
        if _is_text(values[name], most):
            return []
        return [Violation(f"/{name}", f"measure.{name}", f"Give a text of 1 to {most} characters.")]

    return rule


def _choice_rule(name: str, choices: Sequence[str]) -> Rule:
    def rule(values: Mapping[str, Any]) -> list[Violation]:
        if values[name] in choices:
            return []
        return [Violation(f"/{name}", f"measure.{name}", f"Choose one of {', '.join(choices)}.")]

    return rule


def violations_of_change(use: MeasureUse, changed: Mapping[str, Any]) -> list[Violation]:
    """Returns the violations of a change of a measure that would make existing scores or supports invalid.

    `changed` has the new values, keyed by column.
    """
    violations = []
    for column, field in FIXED_IN_USE.items():
        if column in changed and use.used:
            detail = f"This measure has scores or supports: its {field} cannot change. Create another measure."
            violations.append(Violation(f"/{field}", "measure.in_use", detail))
    outside = "There are scores {} this value. Amend or remove them first."
    if use.least is not None and changed.get("lowest", use.least) > use.least:
        violations.append(Violation("/lowest", "measure.scores_outside", outside.format("below")))
    if use.greatest is not None and changed.get("highest", use.greatest) < use.greatest:
        violations.append(Violation("/highest", "measure.scores_outside", outside.format("above")))
    if use.unlisted and changed.get("forms") is not None:
        detail = (
            f"List every form that scores have: {use.unlisted} scores have a form that is not listed; or give null."
        )
        violations.append(Violation("/forms", "measure.form_in_use", detail))
    return violations


def _violations_of_range(values: Mapping[str, Any]) -> list[Violation]:
    lowest, highest = values["lowest"], values["highest"]
    if not all(isfinite(limit) and abs(limit) <= MAX_VALUE for limit in (lowest, highest)) or lowest >= highest:
        detail = f"The lowest value lies below the highest, both within {MAX_VALUE:.0f} of zero."
        return [Violation("/highest", "measure.range", detail)]
    sem = values["sem"]
    if sem is not None and not 0 < sem < highest - lowest:
        detail = "A standard error of measurement is above zero and below the measure's range; null means unknown."
        return [Violation("/sem", "measure.sem", detail)]
    return []


def _violations_of_sems(values: Mapping[str, Any]) -> list[Violation]:
    return violations_of_ranges(ranges_as_stored(values["sems"]), values["lowest"], values["highest"])


def _violations_of_forms(values: Mapping[str, Any]) -> list[Violation]:
    forms = values["forms"]
    if forms is None:
        return []
    violations = []
    if not 1 <= len(forms) <= MAX_FORMS:
        detail = f"List 1 to {MAX_FORMS} forms, or give null to accept any form."
        violations.append(Violation("/forms", "measure.forms", detail))
    for position, form in enumerate(forms):
        if not _is_text(form, MAX_FORM_LENGTH):
            detail = f"Give a text of 1 to {MAX_FORM_LENGTH} characters."
            violations.append(Violation(f"/forms/{position}", "measure.form", detail))
        elif form in forms[:position]:
            violations.append(Violation(f"/forms/{position}", "measure.form_doubled", "This form is listed twice."))
    return violations


def _is_text(text: str, most: int) -> bool:
    return bool(text.strip()) and len(text) <= most and "\x00" not in text


_RULES = (
    _violations_of_code,
    _text_rule("name", MAX_NAME_LENGTH),
    _text_rule("unit", MAX_UNIT_LENGTH),
    _choice_rule("direction", DIRECTIONS),
    _choice_rule("kind", KINDS),
    _violations_of_range,
    _violations_of_sems,
    _violations_of_forms,
)

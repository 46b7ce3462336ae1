"""Parses and validates the rules by which results in a source's gradebook become scores of measures.

A source has a list of these rules, its mapping. The first rule that matches a line item or an assessment determines the
measure of its results. Results without a matching rule are grades only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.core.errors import Invalid, Violation
from app.evidence.rules import PURPOSES

MAX_RULES = 200
OF_LINE_ITEMS: Final = ("line_item", "category", "category_title", "title")
OF_ASSESSMENTS: Final = ("assessment", "assessment_title")
BY_PATTERN: Final = ("title", "assessment_title")


@dataclass(frozen=True, slots=True)
class MappingRule:
    """A rule of a mapping: its conditions select line items or assessments, whose results become scores of `measure`.

    A line item or an assessment must meet all conditions that the rule has. All ids are the source's ids. Titles may
    contain `*`.
    """

    measure: str
    line_item: str | None = None
    category: str | None = None
    category_title: str | None = None
    title: str | None = None
    assessment: str | None = None
    assessment_title: str | None = None
    form: str | None = None
    attempt: int | None = None
    purpose: str = "progress"


_WORDS: Final = tuple(MappingRule.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class MappingRules:
    """The mapping of a source: the rules by which its results become scores.

    If `alerts_on_first_load` is true, scores from the source's first load can raise alerts.
    """

    rules: tuple[MappingRule, ...] = ()
    alerts_on_first_load: bool = False


def read_mapping(given: Mapping[str, Any]) -> MappingRules:
    """Parses a mapping from its JSON object.

    An example is `{"rules": [{"title": "ORF*", "measure": "orf"}], "alerts_on_first_load": false}`. Raises `Invalid`
    with every violation.
    """
    violations = mapping_violations(given)
    if violations:
        raise Invalid(violations)
    return MappingRules(
        tuple(MappingRule(**rule) for rule in given.get("rules", [])), given.get("alerts_on_first_load", False)
    )


def mapping_violations(given: Mapping[str, Any], at: str = "/mapping") -> list[Violation]:
    """Returns the violations in the JSON of a mapping. `at` is the JSON pointer of the mapping.

    This function does not check whether the playbook has the measures of the mapping; each sync checks that.
    """
    unknown = [name for name in given if name not in ("rules", "alerts_on_first_load")]
    violations = [Violation(f"{at}/{name}", "mapping.unknown", "A mapping has rules.") for name in unknown]
    if not isinstance(given.get("alerts_on_first_load", False), bool):
        violations.append(Violation(f"{at}/alerts_on_first_load", "mapping.malformed", "This is true or false."))
    rules = given.get("rules", [])
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        violations.append(Violation(f"{at}/rules", "mapping.malformed", f"Rules are a list of at most {MAX_RULES}."))
        return violations
    for number, rule in enumerate(rules):
        violations += _violations(rule, f"{at}/rules/{number}")
    return violations


def _violations(rule: Any, at: str) -> list[Violation]:
    if not isinstance(rule, dict):
        return [Violation(at, "mapping.malformed", "A rule is an object.")]
    violations = [
        Violation(f"{at}/{name}", "mapping.unknown", f"A rule has {', '.join(_WORDS)}.")
        for name in rule
        if name not in _WORDS
    ]
    texts = [name for name in _WORDS if name != "attempt" and rule.get(name) is not None]
    violations += [
        Violation(f"{at}/{name}", "mapping.malformed", "This is a text of 1 to 255 characters.")
        for name in texts
        if not isinstance(rule[name], str) or not 1 <= len(rule[name]) <= 255 or "\0" in rule[name]
    ]
    if rule.get("measure") is None:
        violations.append(Violation(f"{at}/measure", "value.missing", "A rule names the code of a measure."))
    of_items, of_assessments = (any(rule.get(name) for name in names) for names in (OF_LINE_ITEMS, OF_ASSESSMENTS))
    if of_items == of_assessments:
        detail = f"A rule names one or more of {', '.join(OF_LINE_ITEMS)}; or of {', '.join(OF_ASSESSMENTS)}."
        violations.append(Violation(at, "mapping.matches", detail))
    if rule.get("purpose", "progress") not in PURPOSES:
        violations.append(Violation(f"{at}/purpose", "score.purpose", f"A purpose is one of {', '.join(PURPOSES)}."))
    attempt = rule.get("attempt")
    if attempt is not None and (type(attempt) is not int or not 1 <= attempt <= 1000):
        violations.append(Violation(f"{at}/attempt", "score.attempt", "Attempts count from 1."))
    return violations


def pattern(text: str | None) -> str | None:
    """Converts a title of a mapping rule, in which `*` stands for any text, to a pattern for SQL's ILIKE.

    Returns None if `text` is None.
    """
    if text is None:
        return None
    for letter in ("\\", "%", "_"):
        text = text.replace(letter, f"\\{letter}")
    return text.replace("*", "%")

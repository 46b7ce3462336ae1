"""Owns what a mapping is: which results of a source become scores of the loop, and of which measure. Pure.

A mapping is a list of rules; the first that fits a line item or an assessment says which measure its results are.
What is not mapped stays a grade.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.core.errors import Invalid, Violation
from app.evidence.rules import PURPOSES

MOST_RULES = 200
OF_LINE_ITEMS: Final = ("line_item", "category", "category_title", "title")
OF_ASSESSMENTS: Final = ("assessment", "assessment_title")
BY_PATTERN: Final = ("title", "assessment_title")


@dataclass(frozen=True, slots=True)
class MappingRule:
    """What is matched (all that is named must fit; ids are the source's, titles may have `*`), and the measure."""

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
    """A source's mapping. `alerts_on_first_load` has the first load judged as news, not as history."""

    rules: tuple[MappingRule, ...] = ()
    alerts_on_first_load: bool = False


def read_mapping(given: Mapping[str, Any]) -> MappingRules:
    """A mapping from its JSON: `{"rules": [{"title": "ORF*", "measure": "orf"}], "alerts_on_first_load": false}`.

    Raises `Invalid` with every violation.
    """
    found = mapping_violations(given)
    if found:
        raise Invalid(found)
    return MappingRules(
        tuple(MappingRule(**rule) for rule in given.get("rules", [])), given.get("alerts_on_first_load", False)
    )


def mapping_violations(given: Mapping[str, Any], at: str = "/mapping") -> list[Violation]:
    """Everything wrong with a mapping's JSON by itself; whether the playbook has its measures is asked at each sync."""
    unknown = [name for name in given if name not in ("rules", "alerts_on_first_load")]
    found = [Violation(f"{at}/{name}", "mapping.unknown", "A mapping has rules.") for name in unknown]
    if not isinstance(given.get("alerts_on_first_load", False), bool):
        found.append(Violation(f"{at}/alerts_on_first_load", "mapping.malformed", "This is true or false."))
    rules = given.get("rules", [])
    if not isinstance(rules, list) or len(rules) > MOST_RULES:
        found.append(Violation(f"{at}/rules", "mapping.malformed", f"MappingRules are a list of at most {MOST_RULES}."))
        return found
    return found + [one for number, rule in enumerate(rules) for one in _violations(rule, f"{at}/rules/{number}")]


def _violations(rule: Any, at: str) -> list[Violation]:
    if not isinstance(rule, dict):
        return [Violation(at, "mapping.malformed", "A rule is an object.")]
    found = [
        Violation(f"{at}/{name}", "mapping.unknown", f"A rule has {', '.join(_WORDS)}.")
        for name in rule
        if name not in _WORDS
    ]
    texts = [name for name in _WORDS if name != "attempt" and rule.get(name) is not None]
    found += [
        Violation(f"{at}/{name}", "mapping.malformed", "This is a text of 1 to 255 characters.")
        for name in texts
        if not isinstance(rule[name], str) or not 1 <= len(rule[name]) <= 255 or "\0" in rule[name]
    ]
    if rule.get("measure") is None:
        found.append(Violation(f"{at}/measure", "value.missing", "A rule names the code of a measure."))
    of_items, of_assessments = (any(rule.get(one) for one in names) for names in (OF_LINE_ITEMS, OF_ASSESSMENTS))
    if of_items == of_assessments:
        detail = f"A rule names one or more of {', '.join(OF_LINE_ITEMS)}; or of {', '.join(OF_ASSESSMENTS)}."
        found.append(Violation(at, "mapping.matches", detail))
    if rule.get("purpose", "progress") not in PURPOSES:
        found.append(Violation(f"{at}/purpose", "score.purpose", f"A purpose is one of {', '.join(PURPOSES)}."))
    attempt = rule.get("attempt")
    if attempt is not None and (type(attempt) is not int or not 1 <= attempt <= 1000):
        found.append(Violation(f"{at}/attempt", "score.attempt", "Attempts count from 1."))
    return found


def pattern(text: str | None) -> str | None:
    """A title with `*` as ILIKE takes it."""
    if text is None:
        return None
    for letter in ("\\", "%", "_"):
        text = text.replace(letter, f"\\{letter}")
    return text.replace("*", "%")

"""Chooses the decision rule for a series of scores by its measure, area and school. Pure.

The decision rules themselves are in `app.response.rules`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

REST = "*"
AREA = "area:"
SCHOOL = "school:"


def is_code(text: str) -> bool:
    """Returns whether a text is a code of small letters, digits, `-` and `_`, with at least one letter."""
    return text.replace("-", "").replace("_", "").isalnum() and text.isascii() and text.islower()


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision rule with its parameters, and the score series to which it applies.

    The rule applies to one measure, to an area and all areas under it, or to every series without a more specific rule.
    It applies in one school if `school` is given, otherwise in the whole district.
    """

    rule: str
    parameters: Mapping[str, Any]
    measure: str | None = None
    area: str | None = None
    school: UUID | None = None

    @property
    def key(self) -> str:
        """Returns the key under which a playbook version stores this entry."""
        scope = self.measure or (f"{AREA}{self.area}" if self.area else REST)
        return f"{SCHOOL}{self.school}/{scope}" if self.school else scope


def entry_of(key: str, chosen: Mapping[str, Any]) -> Entry:
    """Returns the entry that a playbook version stores under `key`. `chosen` is the stored rule with its parameters."""
    school = None
    if key.startswith(SCHOOL):
        school_id, _, key = key.removeprefix(SCHOOL).partition("/")
        school = UUID(school_id)
    area = key.removeprefix(AREA) if key.startswith(AREA) else None
    measure = key if area is None and key != REST else None
    return Entry(chosen["rule"], chosen.get("parameters") or {}, measure, area, school)


def stored(entries: Sequence[Entry]) -> dict[str, Any]:
    """Converts entries to the JSON object that a playbook version stores. Its keys are those of `Entry.key`."""
    return {entry.key: {"rule": entry.rule, "parameters": dict(entry.parameters)} for entry in entries}


def choose(
    rules: Mapping[str, Any], measure: str, areas: Sequence[str], schools: Sequence[UUID]
) -> tuple[str, Mapping[str, Any]]:
    """Returns the name and the parameters of the decision rule for a measure in an area.

    A school's own entries take precedence over the district's. Within each of these two groups, an entry for the
    measure comes first, then one for the nearest area, then the general entry. `areas` has the codes on the path from
    the support's own area up to the top of the tree.
    """
    keys = [measure, *(f"{AREA}{code}" for code in areas), REST]
    for prefix in (*(f"{SCHOOL}{school}/" for school in schools), ""):
        for key in keys:
            chosen = rules.get(prefix + key)
            if chosen is not None:
                return chosen["rule"], chosen.get("parameters") or {}
    raise LookupError("A playbook has a rule for the rest.")

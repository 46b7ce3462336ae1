"""Chooses the decision rule for a series of scores by its measure, area and school. Pure; contains no decision rule
itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

REST = "*"
AREA = "area:"
SCHOOL = "school:"


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision rule with its parameters, and the series to which it applies, in one school or in the whole district.

    These are the series of one measure, those of an area with the areas below it, or all others.
    """

    rule: str
    parameters: Mapping[str, Any]
    measure: str | None = None
    area: str | None = None
    school: UUID | None = None

    @property
    def key(self) -> str:
        """Returns the key under which a version stores this entry."""
        scope = self.measure or (f"{AREA}{self.area}" if self.area else REST)
        return f"{SCHOOL}{self.school}/{scope}" if self.school else scope


def entry_of(key: str, chosen: Mapping[str, Any]) -> Entry:
    """Returns the entry that a version stores under this key with this value."""
    school = None
    if key.startswith(SCHOOL):
        school_id, _, key = key.removeprefix(SCHOOL).partition("/")
        school = UUID(school_id)
    area = key.removeprefix(AREA) if key.startswith(AREA) else None
    measure = key if area is None and key != REST else None
    return Entry(chosen["rule"], chosen.get("parameters") or {}, measure, area, school)


def stored(entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns the entries as a version stores them, keyed by `Entry.key`."""
    return {entry.key: {"rule": entry.rule, "parameters": dict(entry.parameters)} for entry in entries}


def choose(
    rules: Mapping[str, Any], measure: str, areas: Sequence[str], schools: Sequence[UUID]
) -> tuple[str, Mapping[str, Any]]:
    """Returns the name of the rule for a measure in an area, and its parameters.

    A school's own entries precede the district's. Within each of the two, the measure's entry comes first, then that of
    the nearest area, then the one for all others. `areas` are codes from the support's own area upwards.
    """
    keys = [measure, *(f"{AREA}{code}" for code in areas), REST]
    for prefix in (*(f"{SCHOOL}{school}/" for school in schools), ""):
        for key in keys:
            chosen = rules.get(prefix + key)
            if chosen is not None:
                return chosen["rule"], chosen.get("parameters") or {}
    raise LookupError("A playbook has a rule for the rest.")

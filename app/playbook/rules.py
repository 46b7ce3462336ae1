"""Owns which rule judges what: by measure, by area, for a school or the district. Pure; knows no rule by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

REST = "*"
AREA = "area:"
SCHOOL = "school:"


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule with its parameters, and for what: a measure, an area with those below it, or the rest; in a school."""

    rule: str
    parameters: Mapping[str, Any]
    measure: str | None = None
    area: str | None = None
    school: UUID | None = None

    @property
    def key(self) -> str:
        """The key under which a version keeps it."""
        what = self.measure or (f"{AREA}{self.area}" if self.area else REST)
        return f"{SCHOOL}{self.school}/{what}" if self.school else what


def entry_of(key: str, chosen: Mapping[str, Any]) -> Entry:
    """The entry that stands under a key."""
    school = None
    if key.startswith(SCHOOL):
        named, _, key = key.removeprefix(SCHOOL).partition("/")
        school = UUID(named)
    area = key.removeprefix(AREA) if key.startswith(AREA) else None
    measure = key if area is None and key != REST else None
    return Entry(chosen["rule"], chosen.get("parameters") or {}, measure, area, school)


def stored(entries: Sequence[Entry]) -> dict[str, Any]:
    """Entries as a version keeps them."""
    return {entry.key: {"rule": entry.rule, "parameters": dict(entry.parameters)} for entry in entries}


def choose(
    rules: Mapping[str, Any], measure: str, areas: Sequence[str], schools: Sequence[UUID]
) -> tuple[str, Mapping[str, Any]]:
    """The rule and its parameters: the school's own before the district's; measure, nearest area, the rest.

    `areas` are codes from the support's own area upwards.
    """
    keys = [measure, *(f"{AREA}{code}" for code in areas), REST]
    for prefix in (*(f"{SCHOOL}{school}/" for school in schools), ""):
        for key in keys:
            chosen = rules.get(prefix + key)
            if chosen is not None:
                return chosen["rule"], chosen.get("parameters") or {}
    raise LookupError("A playbook has a rule for the rest.")

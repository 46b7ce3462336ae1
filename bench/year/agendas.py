"""Compares the agendas of the simulated year with the items that the benchmark expects."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.year.records import TeamRecord
from bench.year.state import Year
from bench.year.truth import ORDER, Expected, expected_items


def check_agenda(year: Year, team: TeamRecord, agenda: dict[str, Any]) -> dict[str, Expected]:
    """Checks that an agenda has exactly the expected items, in the stated order.

    Each item must have the expected reason, day and number of postponements. Returns the expected items that the agenda
    has, keyed by the subject and the kind of the item.
    """
    place = f"the agenda of {team.name}"
    year.require(tuple(agenda["order"]) == ORDER, f"{place} states another order")
    year.require(agenda["hidden"] == 0, f"{place} hides {agenda['hidden']} items")
    entries = {(entry["kind"], entry["text"] or entry["subject"]): entry for entry in agenda["items"]}
    year.require(len(entries) == len(agenda["items"]), f"{place} has {len(agenda['items']) - len(entries)} items twice")
    expected = {(item.kind, item.subject): item for item in expected_items(year, team)}
    for kind, subject in sorted(entries.keys() - expected.keys()):
        year.require(False, f"{place} has {kind} about {_words(year, entries[kind, subject]['student'], subject)}")
    for kind, subject in sorted(expected.keys() - entries.keys()):
        year.require(False, f"{place} lacks {kind} about {expected[kind, subject].student}, {subject}")
    sequence = [(entry["rank"], entry["since"]) for entry in agenda["items"]]
    year.require(sequence == sorted(sequence), f"{place} is not in its order")
    right = {}
    for key in entries.keys() & expected.keys():
        _check_entry(year, team, place, entries[key], expected[key])
        right[str(entries[key]["subject"]) + key[0]] = expected[key]
    return right


def _check_entry(year: Year, team: TeamRecord, place: str, entry: dict[str, Any], item: Expected) -> None:
    codes = frozenset(reason["code"] for reason in entry["reasons"])
    carried = team.carried.get(item.key, 0)
    wrong = {
        "rank": (entry["rank"], ORDER.index(item.kind) + 1),
        "reasons": (codes, item.codes),
        "day": (entry["since"], entry["since"] if item.since is None else item.since.isoformat()),
        "student": (entry["student"], None if item.student is None else year.student_ids[item.student]),
        "number of times it was carried": (entry["times_carried"], carried),
        "state": (entry["state"], "open"),
    }
    for name, (shown, right) in wrong.items():
        year.require(shown == right, f"{place}: {item.kind} about {item.student} has the {name} {shown}, not {right}")


def _words(year: Year, student: str | None, subject: str) -> str:
    return f"{year.names.get(student or '', 'nobody')}, {subject}"


def doubled(entries: list[dict[str, Any]]) -> int:
    """Returns how many items of an agenda are about the same record as another item."""
    counted = Counter(entry["subject"] for entry in entries)
    return sum(number - 1 for number in counted.values())

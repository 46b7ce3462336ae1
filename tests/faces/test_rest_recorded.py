"""Compares the derived REST reads with the recorded answers of the hand-written reads that they replace.

An answer may have more members than the recorded one, and no fewer. `AIMLINE_RECORD=1` records the answers again.
"""

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI

from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Request, operations, own_filters, own_request
from tests.town import YEAR_BEGINS, Town

RECORDED = Path(__file__).with_name("recorded_reads.json")
SUBJECTS = "students|staff|schools|classes|breaks|areas|levels|measures|concerns|supports|scores|calibrations|decisions"
READS = re.compile(rf"/v1/({SUBJECTS}|verdicts|sessions)(/{{\w+}}(/[a-z-]+)?)?")
IRREGULAR = {"get_dosage", "get_chart", "get_chart_svg", "get_sync_history", "get_staff_sync_history"}
NEW = {"after", "limit", "expand", "fields", "sort", "include_total", "q", "updated_since"}
ID = re.compile(r"\b([a-z]{2,4})_[0-9a-hjkmnp-tv-z]{26}\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)?")
DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b")


class Normal:
    """Replaces values that differ between districts and days: ids, the district's names, instants and dates."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.names: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Returns a text in which ids, instants, dates and the names of the district are replaced."""
        for own in (self.town.canary, self.town.canary.lower(), self.town.slug):
            text = text.replace(own, "OWN")
        return DAY.sub(self._day, INSTANT.sub("INSTANT", ID.sub(self._id, text)))

    def value(self, value: Any) -> Any:
        """Returns a JSON value in which ids, instants, dates and the names of the district are replaced."""
        if isinstance(value, dict):
            return {name: "CURSOR" if name == "next" and inner else self.value(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def _id(self, match: re.Match[str]) -> str:
        kind = match.group(1)
        number = sum(name.startswith(f"{kind}#") for name in self.names.values())
        return self.names.setdefault(match.group(), f"{kind}#{number}")

    def _day(self, match: re.Match[str]) -> str:
        day = date.fromisoformat(match.group())
        is_today = abs(day - date.today()) <= timedelta(days=1)
        return "TODAY" if is_today else f"DAY{(day - YEAR_BEGINS).days:+}"


def requests(app: FastAPI, district: FullDistrict) -> Iterator[tuple[str, Request]]:
    """Yields each read that is derived from a declaration, once alone and once with each of its filters."""
    for operation in operations(app):
        if operation.reads and READS.fullmatch(operation.path) and operation.name not in IRREGULAR:
            yield operation.name, own_request(operation, district)
            for place, request in enumerate(own_filters(operation, district)):
                if request.named not in NEW:
                    yield f"{operation.name} by {request.named} {place}", request


async def answers(app: FastAPI, town: Town) -> dict[str, Any]:
    """Returns the answer of each read; for a filtered list, only the ids."""
    district, normal = await fill_district(town), Normal(town)
    asks = caller(app, town)
    recorded: dict[str, Any] = {}
    for name, request in requests(app, district):
        answer = await asks.get(request.path, **(request.params or {}))
        body = normal.value(answer.json())
        if " by " in name and answer.status_code == 200:
            body = [item.get("id", item) for item in body["items"]] if "items" in body else body
            name = name.rpartition(" ")[0] + f" {sum(one.startswith(name.rpartition(' ')[0]) for one in recorded)}"
        recorded[name] = {"status": answer.status_code, "body": body}
    return recorded


def within(recorded: Any, now: Any) -> Any:
    """Returns those members of an answer that the recorded answer has."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return {name: within(value, now[name]) if name in now else "<lost>" for name, value in recorded.items()}
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        return [within(one, other) for one, other in zip(recorded, now, strict=True)]
    return now


async def test_every_read_answers_as_before_it_was_derived(app: FastAPI, north: Town) -> None:
    """Every read route that is generated from a declaration returns the same as the hand-written route that it
    replaced.

    Members, rows, orders and statuses are compared.
    """
    now = await answers(app, north)
    if os.environ.get("AIMLINE_RECORD"):
        RECORDED.write_bytes(orjson.dumps(now, option=orjson.OPT_INDENT_2) + b"\n")
    recorded = orjson.loads(RECORDED.read_bytes())
    assert len(recorded) > 50
    for name, answer in recorded.items():
        assert (name, within(answer, now.get(name))) == (name, answer)

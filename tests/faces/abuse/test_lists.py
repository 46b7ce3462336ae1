"""Tests the cost of the longest lists that a request may contain: no work may be repeated for each item."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from app.core.ids import format_id, new_id
from tests.faces.rest_town import caller
from tests.sent import statements_sent
from tests.town import Town

ROWS = "code,name,levels,areas\n"


def _lines(item: str, times: int) -> str:
    lines = (item % place if "%" in item else item for place in range(times))
    return '"' + "\n".join(lines) + '"'


FILES: dict[str, Callable[[], str]] = {
    "rows of one character": lambda: "code,name\n" + "a\n" * 490_000,
    "rows of two cells": lambda: "code,name\n" + "a,b\n" * 240_000,
    "blank rows": lambda: "code,name\n" + ",\n" * 490_000 + "a",
    "the same level": lambda: f"{ROWS}a,b,{_lines('2', 120_000)},\n",
    "different levels": lambda: f"{ROWS}a,b,{_lines('%d', 20_000)},\n",
    "different areas": lambda: ROWS + "".join(f"a{row},b,,{_lines('x%d', 150)}\n" for row in range(500)),
    "known areas": lambda: ROWS + "".join(f"a{row},b,,{_lines('ela', 50)}\n" for row in range(500)),
    "steps": lambda: f"code,name,steps\na,b,{_lines('s%d', 90_000)}\n",
}
"""Files of the intervention library with up to a million characters."""


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_the_library_is_refused_before_it_is_read_whole(app: FastAPI, north: Town, name: str) -> None:
    """A file for the intervention library is refused for its size before it is read completely.

    A file can have up to a million characters. Earlier, a file with 60,000 lines took 115 s: each entry caused an SQL
    statement, and each line was compared with all lines before it.
    """
    content = FILES[name]()[:1_000_000]
    asks = caller(app, north)
    await asks.post("/v1/interventions/import", {"csv": "code,name\nfirst,First"})  # loads what is loaded once
    began = time.process_time()
    with statements_sent(app.state.services.engine) as statements:
        answer = await asks.post("/v1/interventions/import", {"csv": content})
    assert time.process_time() - began < 1, name
    assert answer.status_code == 422, answer.text
    assert len(statements) < 20, statements
    codes = {violation["code"] for violation in answer.json()["violations"]}
    assert codes <= {
        *("interventions.count", "shape.too_long", "intervention.doubled"),
        *("csv.cells", "csv.malformed"),
    }


async def test_entries_of_the_library_are_resolved_together(app: FastAPI, north: Town) -> None:
    """The areas and levels of all entries are read with one statement each, however many entries name them."""
    sent = []
    for count in (1, 100):
        entries = [
            {"code": f"e{count}-{place}", "name": "Entry", "areas": ["ela", f"x{place}"], "levels": [2, 3]}
            for place in range(count)
        ]
        with statements_sent(app.state.services.engine) as statements:
            answer = await caller(app, north).post("/v1/interventions", {"interventions": entries})
        assert {each["outcome"] for each in answer.json()["results"]} == {"refused"}
        sent.append(len(statements))
    assert sent[0] == sent[1]


async def test_areas_are_put_in_order_by_few_statements(app: FastAPI, north: Town) -> None:
    """Sorting a list of 2,000 areas needs as many statements as one of two areas."""
    names = [f"x{place}" for place in range(1998)]
    with statements_sent(app.state.services.engine) as statements:
        answer = await caller(app, north).post("/v1/areas/order", {"areas": ["ela", *names, "ela"]})
    assert answer.status_code == 422
    assert len(statements) < 10
    codes = [each["code"] for each in answer.json()["violations"]]
    assert codes == ["area.unknown"] * 100


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("concerns", {"student": "stu", "area": "ela", "description": "Reads slowly."}),
        ("hypotheses", {"concern": "con", "kind": "skill", "statement": "s", "refuted_if": "r"}),
        ("notes", {"about": "con", "text": "t"}),
    ],
)
async def test_the_students_of_all_items_are_locked_once(
    app: FastAPI, north: Town, path: str, item: dict[str, Any]
) -> None:
    """The students of all items of a list are locked by at most two statements, even if every item is refused.

    A refused item rolls back its savepoint. Locks taken within it would be lost, and each item would lock all students
    again.
    """
    kinds = {"stu": "student", "con": "concern"}
    items = [
        {name: format_id(kinds[value], new_id()) if value in kinds else value for name, value in item.items()}
        for _ in range(20)
    ]
    with statements_sent(app.state.services.engine) as statements:
        answer = await caller(app, north).post(f"/v1/{path}/bulk", {path: items})
    assert {each["outcome"] for each in answer.json()["results"]} == {"refused"}, answer.text
    of_all = [each for each in statements if "= ANY (" in each]
    assert len(of_all) <= 2, of_all

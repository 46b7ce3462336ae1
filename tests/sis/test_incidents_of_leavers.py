"""Tests what becomes of the incidents of a student who leaves, and comes back, by a sync."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.core.clock import now
from app.signal.compute import compute_signals
from tests.faces.rest_town import Caller, caller
from tests.records.copies import rows_out_of_step
from tests.rooms.team_town import named
from tests.sis.roster_zip import LENIENT, Export, row_id, sync
from tests.town import Town

RULE = {"code": "incidents", "kind": "incidents", "area": "behaviour", "least": 2}


def without(student: str) -> Export:
    """Returns a delivery without this student and the student's enrollments."""
    export = Export()
    for name, column in (("users", "sourcedId"), ("enrollments", "userSourcedId")):
        export.rows[name] = [row for row in export.rows[name] if row[column] != student]
    return export


async def signals(asks: Caller, town: Town) -> dict[str, str]:
    """Computes the signals, and returns the state of each by its id."""
    async with town.house() as work:
        await compute_signals(work)
    return {one["id"]: one["state"] for one in await asks.items("/v1/signals")}


async def test_a_leaver_has_no_new_incident_and_no_signal_until_the_return(
    app: FastAPI, north: Town, tmp_path: Path
) -> None:
    """After a sync in which a student has left, the signal about incidents lapses, and no new incident is recorded.

    The earlier incidents are kept, and an incident that was a mistake can still be removed. If the student comes back,
    the incidents and the signal are there again.
    """
    await sync(north, Export(), tmp_path)
    asks, student = caller(app, north), named("student", await row_id(north, "person", "s0"))
    assert (await asks.post("/v1/signal-rules", RULE)).status_code == 201

    async def recorded(days: int) -> dict[str, Any]:
        at = (now() - timedelta(days=days)).isoformat()
        body = {"incidents": [{"student": student, "occurred_at": at, "kind": "disruption"}]}
        answer = await asks.post("/v1/incidents/bulk", body)
        result: dict[str, Any] = answer.json()["results"][0]
        return result

    rows = [(await recorded(days))["incident"]["id"] for days in (1, 2, 3)]
    ((signal, state),) = (await signals(asks, north)).items()
    assert state == "suggested"
    assert (await sync(north, without("s0"), tmp_path, limits=LENIENT)).state == "applied"
    assert await signals(asks, north) == {signal: "lapsed"}
    refused = await recorded(4)
    assert [(one["pointer"], one["code"]) for one in refused["violations"]] == [
        ("/incidents/0/student", "student.departed")
    ]
    assert (await asks.post(f"/v1/incidents/{rows[0]}/remove", {"because": "Another child."})).is_success
    assert await rows_out_of_step(north) == {}
    assert (await sync(north, Export(), tmp_path, limits=LENIENT)).state == "applied"
    assert [one["id"] for one in await asks.items("/v1/incidents", student=student)] == rows[1:]
    assert await signals(asks, north) == {signal: "suggested"}
    assert (await recorded(4))["outcome"] == "recorded"
    assert await rows_out_of_step(north) == {}

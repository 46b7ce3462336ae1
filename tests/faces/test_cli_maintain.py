"""Tests `aimline district maintain` as a process: it runs a district's recurring tasks at once."""

import json
from datetime import UTC, datetime, timedelta

from app.evidence.screening.rules import WindowState
from app.evidence.screening.service import ExpectedMeasure, NewWindow, schedule_screening_window
from app.maintenance.models import TaskKind
from tests.processes import aimline
from tests.sis.roster_zip import ask
from tests.town import Town


async def _schedule(town: Town) -> None:
    """Schedules a window whose first day is past. Only a recurring task marks such a window as open."""
    today = datetime.now(UTC).date()
    async with town.unit() as work:
        expected = (ExpectedMeasure("orf", ("03",)),)
        await schedule_screening_window(
            work, NewWindow("fall", today - timedelta(days=2), today + timedelta(days=5), expected)
        )


async def test_an_operator_runs_the_tasks_of_a_district_at_once(north: Town) -> None:
    """`aimline district maintain` runs all recurring tasks, or only the named ones, and returns the written rows of
    each.

    No worker runs in this test.
    """
    await _schedule(north)
    done = aimline(north.settings, "district", "maintain", north.slug, "--task", "signals", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"signals": 0}), done.stderr
    done = aimline(north.settings, "district", "maintain", north.slug, "--json")
    rows = json.loads(done.stdout)
    assert rows.keys() == {kind.value for kind in TaskKind}
    assert rows["screening"] == 1
    states = await ask(north, "SELECT state FROM screening_window WHERE district_id = :district")
    assert [row.state for row in states] == [WindowState.OPEN]


async def test_the_tasks_of_an_unknown_district_are_refused(north: Town) -> None:
    """`aimline district maintain` refuses an unknown district with an error message."""
    done = aimline(north.settings, "district", "maintain", "nowhere")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr

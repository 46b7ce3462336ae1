"""Creates supports and series for the tests of verdicts: students of one grade who take the same forms."""

from datetime import date, timedelta
from random import Random
from typing import Any

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.db import Base
from app.core.ids import new_id
from app.core.page import keyset
from app.events.feed import events_after
from app.evidence.service import NewScore
from app.response.models import FinalizationJob, ResponseState, VerdictRow
from app.response.service import start_support
from app.support.models import Support
from app.support.service import NewSupport, plan_support
from tests.town import YEAR_BEGINS, Town, lay, person_rows

BEGINS = YEAR_BEGINS + timedelta(weeks=2)
LOOP = ("response.", "probe.")


async def classmates(town: Town, number: int) -> list[str]:
    """Adds students to the first school, in grade three, and returns their names."""
    names = [f"mate{n}" for n in range(number)]
    rows: list[Base] = []
    for name in names:
        town.students[name] = new_id()
        rows += person_rows(town, name, "student", town.students[name], town.schools[0])
    async with town.house() as work:
        await lay(work, *rows)
    return names


async def supported(town: Town, name: str, begins: date = BEGINS, **more: Any) -> Support:
    """Returns an active support for reading with a goal of 1.5 words a week."""
    plan: dict[str, Any] = {
        "student": ids.format_id("student", town.students[name]),
        "intervention": "Repeated reading",
        "level": 2,
        "measure": "orf",
        "starts_on": begins,
        "goal": 70.0,
        "goal_on": begins + timedelta(weeks=20),
        "baseline": 40.0,
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        "confirm_rate": True,
    }
    async with town.unit() as work:
        planned = await plan_support(work, NewSupport(**(plan | more)))
        return await start_support(work, planned.id)


def scores(town: Town, name: str, values: list[float], *, since: int = 1, form: bool = False) -> list[NewScore]:
    """Returns scores in oral reading, one for each of `values`, in weeks that follow each other.

    The first score is in the week `since` of the phase. With `form`, each week has a form of its own.
    """
    return [
        NewScore(
            ids.format_id("student", town.students[name]),
            "orf",
            BEGINS + timedelta(weeks=week),
            value,
            form=f"W{week}" if form else None,
        )
        for week, value in enumerate(values, since)
    ]


def reader(seed: int, weeks: int, rate: float = 1.5, hard: dict[int, float] | None = None) -> list[float]:
    """Returns random weekly scores around a rising line.

    `hard` has the weeks in which the form is too hard, each with the number by which it lowers the score.
    """
    rng = Random(seed)
    return [
        float(round(40 + rate * week + rng.gauss(0, 4) - (hard or {}).get(week, 0.0))) for week in range(1, weeks + 1)
    ]


async def response_events(town: Town) -> list[str]:
    """Returns the types of the feed's events whose type begins with `LOOP`, in order."""
    async with town.unit() as work:
        feed = await events_after(work, keyset(town.district_id, "events", {}, None, 200))
    return [event.type for event in feed.rows if event.type.startswith(LOOP)]


async def rows(town: Town, model: type[Any]) -> list[Any]:
    """Returns every row of a table in the district, in order."""

    @needs(Can.JUDGE)
    async def read(work: Work) -> list[Any]:
        result = await work.db.scalars(select(model).where(model.district_id == town.district_id))
        return list(result)

    async with town.house() as work:
        return await read(work)


async def verdicts(town: Town, support: Support) -> list[VerdictRow]:
    """Returns the verdicts of a support, oldest first."""
    own = [row for row in await rows(town, VerdictRow) if row.support_id == support.id]
    return sorted(own, key=lambda row: row.number)


async def state(town: Town, support: Support) -> ResponseState:
    """Returns the present state of a support."""
    states: list[ResponseState] = await rows(town, ResponseState)
    return next(row for row in states if row.support_id == support.id)


async def settlements(town: Town) -> list[FinalizationJob]:
    """Returns the jobs of final judging, finished or not."""
    return sorted(await rows(town, FinalizationJob), key=lambda row: (row.kind, row.monday))

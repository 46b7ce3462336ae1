"""Tests that supports start by themselves on their day, in the district's own time zone, unless planned otherwise."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.core.errors import Conflict, Invalid
from app.core.page import keyset
from app.events.feed import events_after
from app.maintenance.models import TaskKind
from app.response.queries import verdicts_now
from app.response.service import change_support, plan_support, record_scores, record_sessions, start_support
from app.response.upkeep.starts import start_due_supports
from app.support.models import Support
from app.support.queries import phases_of
from app.support.queries import support as read_support
from app.support.service import SupportChange
from app.support.session import NewSession
from tests.rooms.test_loop import BEGINS, RISES, support_for, weekly
from tests.town import Town, maintain

TODAY = today_in("America/Chicago")


@needs(Can.OPERATE)
async def write(work: Work, /, statement: str, **values: object) -> None:
    await work.db.execute(text(statement), {"district": work.district_id, **values})


async def types_of(town: Town) -> list[str]:
    """Returns the types of all events of the district, in order."""
    async with town.unit() as work:
        feed = await events_after(work, keyset(town.district_id, "events", {}, None, 200))
    return [event.type for event in feed.rows]


async def planned(town: Town, name: str = "amy", starts_on: date = BEGINS, **more: object) -> Support:
    """Plans a support that ends twenty weeks after its start."""
    plan = {"starts_on": starts_on, "goal_on": starts_on + timedelta(weeks=20)} | more
    async with town.unit() as work:
        return await plan_support(work, support_for(town, name, **plan))


async def state_of(town: Town, support: Support) -> tuple[str, date]:
    async with town.unit() as work:
        row = await read_support(work, support.id)
        return row.state, row.starts_on


async def run_starts(town: Town) -> int:
    async with town.house() as work:
        return await start_due_supports(work)


async def test_a_support_of_today_or_before_is_active_at_once(north: Town) -> None:
    """A support that starts today or earlier is active at once, and the scores that exist already are judged."""
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES))
    support = await planned(north)
    assert support.state == "active"
    assert await types_of(north) == ["support.planned", "support.started"]
    async with north.unit() as work:
        assert (await verdicts_now(work, [support.id]))[support.id].state != "insufficient_data"
    assert (await planned(north, "ben", TODAY)).state == "active"


async def test_a_support_starts_by_itself_on_its_day_and_is_judged(north: Town) -> None:
    """A planned support starts once its day has come, not before, with one event and a verdict."""
    support = await planned(north, starts_on=TODAY + timedelta(days=1))
    assert (support.state, await run_starts(north)) == ("planned", 0)
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES))
    async with north.house() as work:
        await write(work, "UPDATE support SET starts_on = :day WHERE district_id = :district", day=BEGINS)
        await write(work, "UPDATE phase SET begins_on = :day WHERE district_id = :district", day=BEGINS)
    assert (await maintain(north))[TaskKind.STARTS] == 1
    assert await run_starts(north) == 0
    assert await state_of(north, support) == ("active", BEGINS)
    assert [name for name in await types_of(north) if name.startswith("support.")] == [
        "support.planned",
        "support.started",
    ]
    async with north.unit() as work:
        assert (await verdicts_now(work, [support.id]))[support.id].state != "insufficient_data"


async def test_the_day_is_the_districts_own(north: Town) -> None:
    """A support starts when its first day has begun in the district's time zone, whatever the server's time zone is."""
    far_zone = next(zone for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago") if today_in(zone) != utc_day())
    async with north.house() as work:
        await write(work, "UPDATE district SET time_zone = :zone WHERE district_id = :district", zone=far_zone)
    support = await planned(north, starts_on=today_in(far_zone))
    assert support.state == "active"
    later = await planned(north, "ben", today_in(far_zone) + timedelta(days=1))
    assert (later.state, await run_starts(north)) == ("planned", 0)


def utc_day() -> date:
    return datetime.now(ZoneInfo("UTC")).date()


async def test_a_support_that_starts_manually_waits(north: Town) -> None:
    """A support planned with `starts=manually` stays planned until somebody starts it."""
    support = await planned(north, starts="manually")
    assert await run_starts(north) == 0
    assert (await state_of(north, support))[0] == "planned"
    async with north.unit() as work:
        assert (await start_support(work, support.id)).state == "active"
    with pytest.raises(Conflict):
        async with north.unit() as work:
            await start_support(work, support.id)
    with pytest.raises(Invalid) as refused:
        await planned(north, "ben", starts="sometime")
    assert refused.value.violations[0].code == "support.starts"


async def test_a_student_who_left_starts_nothing(north: Town) -> None:
    """A planned support of a student who left does not start until the student is back."""
    support = await planned(north, starts_on=TODAY + timedelta(days=1))
    async with north.house() as work:
        await write(work, "UPDATE support SET starts_on = :day WHERE district_id = :district", day=TODAY)
        await write(work, "UPDATE person SET removed_at = now() WHERE district_id = :district AND is_student")
    assert await run_starts(north) == 0
    async with north.house() as work:
        await write(work, "UPDATE person SET removed_at = NULL WHERE district_id = :district")
    assert await run_starts(north) == 1
    assert (await state_of(north, support))[0] == "active"


async def test_the_first_day_can_be_corrected_until_something_depends_on_it(north: Town) -> None:
    """If the first session takes place later than planned, the support and its aimline can be moved to that day.

    This is refused if a session is before the new day, or if the support has a second phase.
    """
    support = await planned(north)
    later = BEGINS + timedelta(days=7)
    async with north.unit() as work:
        assert (await start_support(work, support.id)).version == support.version
        corrected = await start_support(work, support.id, later)
        phase = (await phases_of(work, [support.id]))[support.id][0]
        assert (corrected.starts_on, phase.begins_on, corrected.version) == (later, later, support.version + 1)
        await record_sessions(work, support.id, [NewSession(later, attended=True)])
    with pytest.raises(Invalid) as refused:
        async with north.unit() as work:
            await start_support(work, support.id, later + timedelta(days=1))
    assert refused.value.violations[0].code == "support.session_before"
    async with north.unit() as work:
        await change_support(
            work, support.id, SupportChange("More.", begins_on=later + timedelta(days=9), goal=80.0, confirm_rate=True)
        )
    with pytest.raises(Conflict):
        async with north.unit() as work:
            await start_support(work, support.id, BEGINS)

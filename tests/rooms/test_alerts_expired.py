"""Tests when a goal date that has passed closes an alert of a support with several measures."""

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.service import NewScore
from app.response.service import record_scores
from app.response.upkeep.expiry import expire_alerts
from app.support.models import PhaseGoal, Support
from tests.rooms.test_alerts_closed import FLAT, open_alerts, payloads
from tests.rooms.test_support_measures import FLAT as FLAT_MAZE
from tests.rooms.test_support_measures import followed, maze
from tests.rooms.verdict_town import BEGINS, reader, response_events, scores, state
from tests.town import Town

READING = BEGINS + timedelta(weeks=20)
"""The date of the goal in reading."""
LATER, EARLIER = READING + timedelta(weeks=8), READING - timedelta(weeks=4)
DAY = timedelta(days=1)


@needs(Can.JUDGE)
async def _set_goal_date(work: Work, support: Support, goal_on: date) -> None:
    """Sets the goal dates of a support's additional measures, as if the support had been planned long ago."""
    of_support = (PhaseGoal.district_id == work.district_id, PhaseGoal.support_id == support.id)
    await work.db.execute(update(PhaseGoal).where(*of_support).values(goal_on=goal_on))


async def read_and_maze(town: Town, goal_on: date) -> Support:
    """Returns a support for reading that is also monitored by a second measure (maze) with another goal date."""
    support = await followed(town)
    async with town.house() as work:
        await _set_goal_date(work, support, goal_on)
    return support


async def judged(town: Town, *new: NewScore) -> None:
    async with town.unit() as work:
        await record_scores(work, list(new))


async def expired(town: Town, today: date) -> int:
    """Runs the maintenance of a day, and returns how many alerts it closed."""
    async with town.house() as work:
        return await expire_alerts(work, today)


async def alert_of(town: Town, support: Support) -> UUID | None:
    return (await state(town, support)).alert_id


async def test_an_alert_of_a_further_measure_ends_with_its_own_goal(north: Town) -> None:
    """An alert of an additional measure expires with this measure's own goal date, and not with that of the phase."""
    support = await read_and_maze(north, LATER)
    await judged(north, *maze(north, FLAT_MAZE))
    alert = await alert_of(north, support)
    assert alert is not None
    assert await expired(north, READING + DAY) == 0
    assert await alert_of(north, support) == alert
    assert [await expired(north, day) for day in (LATER, LATER + DAY, LATER + 2 * DAY)] == [0, 1, 0]
    assert (await response_events(north))[-1] == "response.expired"
    await judged(north, *maze(north, [10.0, 9.0], since=11))
    assert await alert_of(north, support) is None
    assert open_alerts(await payloads(north)) == {}


async def test_an_earlier_goal_ends_its_alert_and_leaves_the_other_measure_its_own(north: Town) -> None:
    """An alert expires with the goal date of the measure that opened it, even if the goal date of the phase is later.

    The measure then opens no other alert, even if more of its scores are recorded. Another measure can open one.
    """
    support = await read_and_maze(north, EARLIER)
    await judged(north, *maze(north, FLAT_MAZE), *scores(north, "amy", reader(3, 8)))
    first = await alert_of(north, support)
    assert first is not None
    assert [await expired(north, day) for day in (EARLIER, EARLIER + DAY, EARLIER + 2 * DAY)] == [0, 1, 0]
    assert await alert_of(north, support) is None
    await judged(north, *scores(north, "amy", [53.0, 55.0], since=9))
    await judged(north, *maze(north, [9.0, 9.0], since=11))
    assert await alert_of(north, support) is None
    await judged(north, *scores(north, "amy", [40.0, 38.0, 39.0, 37.0, 38.0, 36.0, 37.0, 36.0], since=11))
    second = await alert_of(north, support)
    assert second not in (None, first)
    assert list(open_alerts(await payloads(north)).values()) == [str(second)]
    assert [await expired(north, day) for day in (READING, READING + DAY)] == [0, 1]
    assert open_alerts(await payloads(north)) == {}


async def test_an_alert_that_another_measure_justifies_does_not_expire(north: Town) -> None:
    """An alert of a support stays open while another of its measures is off track and has a goal date in the future."""
    support = await read_and_maze(north, LATER)
    await judged(north, *scores(north, "amy", FLAT))
    alert = await alert_of(north, support)
    await judged(north, *maze(north, FLAT_MAZE))
    assert alert is not None
    assert await expired(north, READING + DAY) == 0
    assert await alert_of(north, support) == alert
    assert await expired(north, LATER + DAY) == 1
    assert open_alerts(await payloads(north)) == {}

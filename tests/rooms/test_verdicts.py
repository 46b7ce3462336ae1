"""Tests stored verdicts: the rule, the cohort, the alert and its retraction, final judging, and whole districts."""

import asyncio
import re
from datetime import date, timedelta
from random import Random

import asyncpg
import pytest
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of, now
from app.evidence.amend import Amendment
from app.evidence.models import ScoreChange
from app.evidence.service import NewScore
from app.evidence.service import record_scores as take_scores
from app.playbook.rules import Entry, stored
from app.playbook.service import publish_rules
from app.response.judging.finalize import _claim as claim_settlements
from app.response.judging.finalize import finalize_district
from app.response.judging.write import CONTENT, WRITE_VERDICTS
from app.response.models import FinalizationJob, VerdictRow
from app.response.service import amend_score, judge_many, record_scores, remove_score
from app.support.models import Support
from app.support.session import NewSession, record_sessions
from tests.rooms.verdict_town import (
    BEGINS,
    classmates,
    reader,
    response_events,
    scores,
    settlements,
    state,
    supported,
    verdicts,
)
from tests.sent import statements_sent
from tests.town import Town, by_four_points

RISES = [42.0, 44.0, 45.0, 47.0, 48.0]
STALLS = [47.0, 47.0, 46.0, 47.0]
BEYOND_NAMES = {"phase_id", "score_ids", "playbook_version_id"}
"""The columns in which the verdicts of two districts with the same scores differ."""


async def send(town: Town, new: list[NewScore], *, backfill: bool = False) -> None:
    """Records scores in one request."""
    async with town.unit() as work:
        taken = await record_scores(work, new, backfill=backfill)
    assert {one.outcome for one in taken} <= {"recorded", "amended", "unchanged"}, taken


def content(row: VerdictRow) -> dict[str, object]:
    """Returns the values of a verdict that are equal in two districts with the same scores."""
    return {name: getattr(row, name) for name in CONTENT if name not in BEYOND_NAMES}


async def settle_all(town: Town) -> int:
    """Makes all scheduled jobs of final judging due, and executes them as the worker does. Returns their number."""

    @needs(Can.JUDGE)
    async def due(work: Work) -> None:
        await work.db.execute(
            update(FinalizationJob)
            .where(FinalizationJob.district_id == town.district_id, FinalizationJob.state == "pending")
            .values(due=now() - timedelta(minutes=1))
        )

    async with town.house() as work:
        await due(work)
    done = 0
    while more := await finalize_district(town.worker_engine, town.settings.keyring, town.district_id):
        done += more
    return done


async def test_a_new_district_is_judged_by_the_monitor_and_all_is_kept(north: Town) -> None:
    """In a new district, a support is judged by the rule `monitor`.

    The verdict stores everything on which it is based.
    """
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", [40.0, 39.0, 41.0, 38.0, 40.0, 37.0, 39.0, 38.0, 36.0, 37.0]))
    row = (await verdicts(north, support))[-1]
    assert (row.rule, row.parameters["far_percent"], row.stated_far) == ("monitor", 10, 0.1)
    assert (row.state, row.kind) == ("not_responding", "never")
    assert row.rate_low is not None
    assert row.rate_low < (row.rate or 0) < (row.rate_high or 0) < row.required_rate == 1.5
    assert (row.odds or 0) > 2
    assert (row.statistic or 0) > (row.threshold or 9)
    assert row.last_on == BEGINS + timedelta(weeks=10)
    assert len(row.score_ids) == 10
    assert row.calibration_id is None
    assert await response_events(north) == ["response.off_track", "response.never"]


async def test_judging_again_changes_nothing(north: Town) -> None:
    """Judging a series again gives identical bytes, so there is no new verdict and no event.

    This holds in a request and for the whole district.
    """
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", reader(1, 9)))
    before, events = await verdicts(north, support), await response_events(north)
    async with north.house() as work:
        outcome = await judge_many(work)
    assert (outcome.judged, outcome.appended) == (1, 0)
    assert len(await verdicts(north, support)) == len(before)
    assert await response_events(north) == events


async def test_a_district_is_read_by_key_and_written_by_one_statement(north: Town) -> None:
    """Judging a district takes the same few statements, however different its verdicts are.

    All rows are read by their keys (LATERAL joins). With plain joins, PostgreSQL once read all scores again for each
    support, because its planner knows hardly anything about a district that was just loaded.
    """
    values = {"mate0": [40.0] * 9, "mate1": reader(1, 9), "mate2": [40.0] * 9, "mate3": [40.0], "mate4": reader(2, 9)}
    for name in await classmates(north, len(values)):
        await supported(north, name)
        async with north.unit() as work:
            await take_scores(work, scores(north, name, values[name]))
    with statements_sent(north.worker_engine) as statements:
        async with north.house() as work:
            outcome = await judge_many(work, quiet=True)
    seen = [" ".join(statement.split()) for statement in statements]
    assert outcome.appended >= 4
    assert [statement for statement in seen if "app.write" in statement] == [WRITE_VERDICTS]
    assert not [statement for statement in seen if re.match("INSERT|UPDATE", statement)]
    assert sum(statement.count(" JOIN LATERAL ") for statement in seen) >= 8
    assert not [statement for statement in seen if re.search(r" JOIN (?!LATERAL )", statement)]


async def test_the_order_of_arrival_changes_nothing_once_a_week_is_settled(north: Town, south: Town) -> None:
    """If two districts get the same scores in different orders, their verdicts are identical to the byte.

    This holds once the weeks have been judged for the last time (finalized).
    """
    hard = {6: 9.0}
    kept = []
    for town, seed in ((north, 1), (south, 2)):
        names = await classmates(town, 6)
        supports = [
            await supported(town, name, BEGINS + timedelta(weeks=place % 2)) for place, name in enumerate(names)
        ]
        series = [
            scores(town, name, reader(place, 8, 0.4 if place == 2 else 1.5, hard), form=True)
            for place, name in enumerate(names)
        ]
        new = [one for some in series for one in some if one.taken_on >= BEGINS + timedelta(weeks=2)]
        Random(seed).shuffle(new)
        for at in range(0, len(new), 7):
            await send(town, new[at : at + 7])
        assert await settle_all(town)
        kept.append(
            [(content((await verdicts(town, one))[-1]), (await state(town, one)).memory["now"]) for one in supports]
        )
    assert kept[0] == kept[1]
    assert {one["statistic"] is not None for one, _ in kept[0]} == {True}


async def test_a_hard_passage_is_seen_in_the_class(north: Town) -> None:
    """If a whole class scores low in a week, a low score counts less against each student.

    For a student without classmates, the same low score counts more.
    """
    names = await classmates(north, 6)
    supports = [await supported(north, name) for name in names]
    alone = await supported(north, "cy")
    hard = {9: 14.0}
    await send(north, scores(north, "cy", reader(0, 9, hard=hard), form=True))
    for place, name in enumerate(names):
        await send(north, scores(north, name, reader(place, 9, hard=hard), form=True))
    await settle_all(north)
    with_class, by_self = (await verdicts(north, supports[0]))[-1], (await verdicts(north, alone))[-1]
    assert (with_class.statistic or 0) < (by_self.statistic or 0)
    assert "passage" in with_class.sentence
    assert "passage" not in by_self.sentence


async def test_an_amended_score_takes_the_alert_back(north: Town) -> None:
    """After a wrong score is amended, its alert is retracted by an event."""
    await by_four_points(north)
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", RISES + STALLS))
    alert = (await verdicts(north, support))[-1]
    assert (await state(north, support)).alert_id == alert.id
    async with north.unit() as work:
        score = await amend_score(work, alert.score_ids[-1], Amendment("Read the wrong line.", value=60.0))
    assert (score.value, score.version) == (60.0, 2)
    last = (await verdicts(north, support))[-1]
    assert (last.state, last.retracts) == ("responding", alert.id)
    assert (await state(north, support)).alert_id is None
    assert await response_events(north) == ["response.off_track", "response.retracted"]
    from tests.rooms.verdict_town import rows

    (change,) = await rows(north, ScoreChange)
    assert (change.action, change.because, change.before["value"]) == ("amended", "Read the wrong line.", 47.0)


async def test_a_backfill_that_ends_an_alert_says_so(north: Town) -> None:
    """A backfill (a late import of old scores) raises no alert, but if it ends an alert, an event says so."""
    await by_four_points(north)
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", RISES + STALLS))
    alert = (await verdicts(north, support))[-1]
    last = len(RISES + STALLS)
    await send(north, scores(north, "amy", [60.0], since=last), backfill=True)
    assert (await verdicts(north, support))[-1].retracts == alert.id
    assert await response_events(north) == ["response.off_track", "response.retracted"]
    await send(north, scores(north, "amy", [47.0], since=last), backfill=True)
    assert (await verdicts(north, support))[-1].state == "off_track"
    assert await response_events(north) == ["response.off_track", "response.retracted"]


async def test_a_removed_score_takes_the_alert_back_and_comes_back_when_sent_again(north: Town) -> None:
    """Removing a score retracts the alert. The score is kept but does not count.

    If the same score is sent again, it is restored, and the alert is raised once more.
    """
    await by_four_points(north)
    support = await supported(north, "amy")
    new = scores(north, "amy", RISES + STALLS)
    await send(north, new)
    alert = (await verdicts(north, support))[-1]
    async with north.unit() as work:
        await remove_score(work, alert.score_ids[-1], "Another child's.")
    last = (await verdicts(north, support))[-1]
    assert (last.state, len(last.score_ids)) == ("responding", len(alert.score_ids) - 1)
    assert await response_events(north) == ["response.off_track", "response.retracted"]
    await send(north, new)
    assert (await verdicts(north, support))[-1].score_ids == alert.score_ids


async def test_a_verdict_is_never_changed(north: Town, settings: object) -> None:
    """The database role `api` may not update a verdict."""
    await supported(north, "amy")
    await send(north, scores(north, "amy", RISES))
    connection = await asyncpg.connect(north.settings.url_of("api"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE verdict SET state = 'responding'")
    finally:
        await connection.close()


async def test_a_week_is_settled_when_it_is_in(north: Town) -> None:
    """A week is judged finally as soon as the last score of the class is recorded, and not while one is missing."""
    names = await classmates(north, 2)
    supports = [await supported(north, name) for name in names]
    await send(north, scores(north, names[0], reader(1, 6)))
    waiting = await settlements(north)
    assert {row.state for row in waiting} == {"pending"}
    assert min(row.due for row in waiting) > now()
    await send(north, scores(north, names[1], reader(2, 6)))
    assert {row.due <= now() for row in await settlements(north)} == {True}
    assert await finalize_district(north.worker_engine, north.settings.keyring, north.district_id) == 6
    assert {row.state for row in await settlements(north)} == {"settled"}
    for support in supports:
        assert (await state(north, support)).settled_on == BEGINS + timedelta(weeks=6)


async def test_two_workers_settle_each_week_once(north: Town) -> None:
    """If two workers finalize weeks at the same time, each week is finalized once. To finalize is to judge for the last
    time.
    """
    await supported(north, "amy")
    await send(north, scores(north, "amy", reader(1, 8)))
    settled = await asyncio.gather(
        *(finalize_district(north.worker_engine, north.settings.keyring, north.district_id) for _ in range(2))
    )
    assert sum(settled) == 8


async def test_a_backfill_is_judged_and_raises_no_alert(north: Town) -> None:
    """A late import of old scores (a backfill) changes the state of a support, but raises no alert.

    The next score raises no alert either.
    """
    await by_four_points(north)
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", RISES + STALLS), backfill=True)
    assert (await state(north, support)).state == "off_track"
    await send(north, scores(north, "amy", [46.0], since=10))
    assert await response_events(north) == []


@pytest.mark.parametrize("weeks", [[9], [1, 2, 3, 4, 5]])
async def test_a_backfill_silences_no_settlement(north: Town, weeks: list[int]) -> None:
    """A judgement that recent scores have caused can raise an alert.

    This holds even if a backfill (a late import of old scores) of a classmate arrives before the judgement.
    """
    amy, (one, other) = await _stalls_unjudged(north)
    await send(north, scores(north, one, [50.0], since=9))
    await send(north, [new for week in weeks for new in scores(north, other, [50.0], since=week)], backfill=True)
    await _settle(north, [BEGINS + timedelta(weeks=week) for week in weeks])
    await settle_all(north)
    assert (await state(north, amy)).state == "off_track"
    assert await response_events(north) == ["response.off_track"]


async def test_a_score_of_an_old_week_makes_no_history_loud(north: Town) -> None:
    """A backfill (a late import of old scores) raises no alert.

    This holds even if an ordinary score of a classmate causes an earlier week to be judged again.
    """
    amy, (one, other) = await _stalls_unjudged(north)
    await send(north, [new for week in range(1, 10) for new in scores(north, one, [50.0], since=week)], backfill=True)
    await send(north, scores(north, other, [48.0], since=5))
    await _settle(north, [BEGINS + timedelta(weeks=5)])
    await settle_all(north)
    assert (await state(north, amy)).state == "off_track"
    assert await response_events(north) == []


async def test_no_two_claims_share_a_number(north: Town) -> None:
    """If new scores arrive while a worker judges a week, the job of final judging gets a new claim number.

    The number of attempts begins again. The result of the first worker is refused, because its claim number is old.
    """
    await supported(north, "amy")
    await send(north, scores(north, "amy", [40.0]))
    seen = []
    for value in (41.0, 42.0):
        async with north.house() as work:
            seen += [one.claim_number for one in await claim_settlements(work)]
        await send(north, scores(north, "amy", [value]))
    assert len(set(seen)) == 2
    await settle_all(north)
    (row,) = await settlements(north)
    assert (row.state, row.attempts, row.claim_number > max(seen)) == ("settled", 1, True)


async def _stalls_unjudged(town: Town) -> tuple[Support, list[str]]:
    """Prepares a student whose last score would raise an alert, and two classmates, without judging them."""
    await by_four_points(town)
    names = await classmates(town, 3)
    amy, *_ = [await supported(town, name) for name in names]
    await send(town, scores(town, names[0], (RISES + STALLS)[:-1]))
    await settle_all(town)
    async with town.unit() as work:
        await take_scores(work, scores(town, names[0], STALLS[-1:], since=9))
    return amy, names[1:]


async def _settle(town: Town, mondays: list[date]) -> None:
    """Judges exactly these weeks for the last time."""

    @needs(Can.JUDGE)
    async def due(work: Work) -> None:
        pending = (FinalizationJob.district_id == town.district_id, FinalizationJob.state == "pending")
        late, these = now() + timedelta(days=1), [monday_of(day) for day in mondays]
        await work.db.execute(update(FinalizationJob).where(*pending).values(due=late))
        first = update(FinalizationJob).where(*pending, FinalizationJob.monday.in_(these))
        await work.db.execute(first.values(due=now() - timedelta(minutes=1)))

    async with town.house() as work:
        await due(work)
    assert await finalize_district(town.worker_engine, town.settings.keyring, town.district_id) == len(mondays)


async def test_too_little_delivered_is_not_blamed_on_the_student(north: Town) -> None:
    """If an alarm is explained by lost sessions, the state is `under_delivered`, whichever rule is used. One event is
    recorded.
    """
    await by_four_points(north)
    support = await supported(north, "amy")
    given = [
        NewSession(
            BEGINS + timedelta(weeks=week, days=day), attended=day == 0, lost_because=None if day == 0 else "absent"
        )
        for week in range(10)
        for day in (0, 1, 2)
    ]
    async with north.unit() as work:
        taken = await record_sessions(work, support.id, given)
    assert {one.outcome for one in taken} == {"recorded"}, taken
    await send(north, scores(north, "amy", RISES + STALLS))
    row = (await verdicts(north, support))[-1]
    assert (row.state, row.kind) == ("under_delivered", None)
    assert row.rate is not None
    assert {"dosage"} <= {reason["code"] for reason in row.because}
    await send(north, scores(north, "amy", [46.0], since=10))
    assert await response_events(north) == ["response.under_delivered"]


async def test_a_school_has_its_own_rule_and_an_area_and_a_measure(north: Town) -> None:
    """A rule of the school takes precedence over a rule of the district.

    A rule for a measure takes precedence over a rule for its area. A rule for everything comes last.
    """
    entries = [
        Entry("monitor", {}),
        Entry("trend", {}, area="ela"),
        Entry("median", {}, measure="orf"),
        Entry("three-point", {}, school=north.schools[1]),
    ]
    async with north.house() as work:
        await publish_rules(work, stored(entries))
    supports = {
        "amy": await supported(north, "amy"),
        "ben": await supported(north, "ben", measure="maze", baseline=10.0, goal=20.0),
        "cy": await supported(north, "cy"),
    }
    rules_by_name = {name: (await verdicts(north, one))[-1].rule for name, one in supports.items()}
    assert rules_by_name == {"amy": "median", "ben": "trend", "cy": "three-point"}


async def test_counts_have_a_rule_of_their_own_and_no_slope_is_forced_on_them(north: Town) -> None:
    """Counts such as referrals are judged by their level. A rule for growth is refused for them, with the reason."""
    support = await supported(north, "amy", measure="referrals", baseline=6.0, goal=1.0)
    new = [
        NewScore(one.student, "referrals", one.taken_on, value)
        for one, value in zip(scores(north, "amy", [0.0] * 7), [6.0, 5.0, 7.0, 6.0, 5.0, 7.0, 6.0], strict=True)
    ]
    await send(north, new)
    row = (await verdicts(north, support))[-1]
    assert (row.rule, row.state) == ("level-change", "not_responding")
    await by_four_points(north)
    async with north.house() as work:
        await judge_many(work, quiet=True)
    row = (await verdicts(north, support))[-1]
    assert row.state == "insufficient_data"
    assert [reason["code"] for reason in row.because] == ["rule_misfit"]

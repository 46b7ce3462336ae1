"""Tests that judging a whole district in arrays gives the results of judging one series at a time, in any order."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app.response.judging.cohort import judge_series
from app.response.judging.series import MonitoredSeries, Scores
from app.response.rules.choose import RULES
from app.response.rules.monitor.bulk import STATES, Batch, find_bulk, judge_bulk
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import State
from bench.response.one import make_series
from bench.response.world import World, Year, simulate
from tests.rules.verdict_bytes import canonical_bytes


def batch(year: Year, *, alone: bool = False, began: int = 0) -> Batch:
    n, weeks = year.scores.shape
    full = np.full(n, 1.0)
    return Batch(
        np.arange(1, weeks + 1) + began,
        year.scores,
        np.median(year.baseline, axis=1),
        1.5 * full,
        75 * full,
        8 * full,
        np.full(n, began),
        np.arange(n) if alone else year.cohort,
    )


def series(of: Batch, n: int) -> Series:
    seen = tuple(
        Observation(int(w - of.began[n]), float(v)) for w, v in zip(of.weeks, of.values[n], strict=True) if v == v
    )
    base, rate = float(of.baseline[n]), float(of.goal_rate[n])
    week = round((float(of.goal[n]) - base) / rate, 6)
    end = max(round(week), 1)
    return Series(seen, base, base + rate * end, end, "up" if rate > 0 else "down", float(of.sem[n]))


def test_a_series_alone_is_judged_as_by_the_single_rule() -> None:
    """The code for a whole district gives a single series the same result as the rule for one series, up to 1e-9."""
    of = batch(simulate(World(weeks=20), 50, 7), alone=True, began=3)
    judged = judge_bulk(of)
    rule = RULES["monitor"]
    for n in range(50):
        one = rule.find(series(of, n), rule.defaults)
        assert one.statistic == pytest.approx(judged.estimate.statistic[n], abs=1e-9)
        assert one.rate == pytest.approx(1.5 * judged.estimate.rate[n], abs=1e-9)
        assert one.rate_low == pytest.approx(1.5 * judged.estimate.low[n], abs=1e-9)
        state = STATES[judged.state[n]]
        assert state in (one.state, State.GOAL_MET)
        if one.change_week:
            assert one.change_week == judged.estimate.change[n]


def test_the_order_of_rows_changes_nothing() -> None:
    """The result of each student is the same to the byte if the rows are shuffled and the cohorts are not adjacent."""
    of = batch(simulate(World(weeks=12), 100, 8))
    order = np.random.default_rng(0).permutation(100)
    one, other = judge_bulk(of), judge_bulk(of.rows(np.sort(order)))
    assert list(one.state) == list(other.state)
    torn = judge_bulk(of.rows(order))
    assert torn.estimate.statistic == pytest.approx(one.estimate.statistic[order], abs=1e-9)
    assert list(torn.state) == list(one.state[order])


def test_once_a_cohorts_week_is_settled_the_order_of_arrival_changes_nothing() -> None:
    """After a week is finalized (judged with all of its scores), the verdict does not depend on their order of
    arrival.
    """
    of = batch(simulate(World(weeks=10), 50, 12))
    late = of.values.copy()
    late[::2, 9] = np.nan
    provisional, settled = judge_bulk(replace(of, values=late)), judge_bulk(of)
    # Classmates' scores say more of the passage: until they are there the verdict is provisional.
    assert provisional.estimate.statistic[1] != settled.estimate.statistic[1]
    repeated = judge_bulk(replace(of, values=late.copy()))
    assert list(repeated.estimate.statistic) == list(provisional.estimate.statistic)
    late[::2, 9] = of.values[::2, 9]
    arrived = judge_bulk(replace(of, values=late))
    for f in fields(arrived.estimate):
        assert list(getattr(arrived.estimate, f.name)) == list(getattr(settled.estimate, f.name))


def test_who_alone_is_asked_for_is_judged_as_among_all() -> None:
    """If only some students of a cohort are judged, each gets the same result as in a batch of the whole cohort."""
    of = batch(simulate(World(weeks=20), 75, 13))
    of = replace(of, goal_rate=np.linspace(1, 2, 75), began=np.where(np.arange(75) % 3, 0, 2))
    of = replace(of, values=np.where(of.weeks <= of.began[:, None], np.nan, of.values))
    together = judge_bulk(of).estimate
    for chosen in ([7], [30, 31, 60]):
        only = np.isin(np.arange(75), chosen)
        judged_alone = find_bulk(of, only=only)
        for f in fields(judged_alone):
            alone, among_all = getattr(judged_alone, f.name), getattr(together, f.name)
            assert alone[only] == pytest.approx(among_all[only], abs=1e-9)
        assert list(judged_alone.statistic[only].round(9)) == list(together.statistic[only].round(9))
        assert np.isnan(judged_alone.statistic[~only]).all()


def test_asked_alone_or_together_gives_the_same_bytes() -> None:
    """Verdicts have the same bytes whether a class is judged together, in parts or one by one."""
    for seed, later in ((1, 0), (2, 3)):
        whole = [began_later(one, later * (n % 2)) for n, one in enumerate(make_series(24, 15, seed))]
        # Who has too few scores for a verdict still tells of the forms.
        whole[5] = replace(
            whole[5], score_series=replace(whole[5].score_series, scores=whole[5].score_series.scores.upto(2))
        )
        together = judge_series(whole)
        for size in (1, 3):
            for n in range(0, len(whole), size):
                rest = [one.score_series for one in whole[:n] + whole[n + size :]]
                for support_id, judged in judge_series(whole[n : n + size], rest[::-1]).items():
                    assert canonical_bytes(judged.verdict) == canonical_bytes(together[support_id].verdict)


@pytest.mark.long
def test_only_a_form_that_is_shared_is_said_to_be_allowed_for() -> None:
    """A verdict says that the difficulty of forms was considered only if several students took the same form."""
    for shared in (True, False):
        whole = make_series(24, 12, 4)
        if not shared:
            own = [tuple(f"{n}.{at}" for at in range(len(one.score_series.scores))) for n, one in enumerate(whole)]
            whole = [of_forms(one, forms) for one, forms in zip(whole, own, strict=True)]
        judgement = judge_series(whole[:1], [one.score_series for one in whole[1:]])[
            whole[0].score_series.series_id
        ].verdict.sentence
        assert ("allowing for how hard each passage was" in judgement) == shared


def of_forms(one: MonitoredSeries, forms: tuple[str, ...]) -> MonitoredSeries:
    """Returns the series with these forms. A form is the version of the test that gave a score."""
    return replace(one, score_series=replace(one.score_series, scores=replace(one.score_series.scores, forms=forms)))


def began_later(one: MonitoredSeries, weeks: int) -> MonitoredSeries:
    """Returns the series without its first weeks; the later weeks are counted from the new beginning."""
    scores = one.score_series.scores
    kept = Scores(
        scores.ids[weeks:],
        scores.days[weeks:],
        tuple(week - weeks for week in scores.weeks[weeks:]),
        scores.values[weeks:],
        scores.forms[weeks:],
    )
    begins = one.score_series.begins_on + timedelta(weeks=weeks)
    return replace(one, score_series=replace(one.score_series, begins_on=begins, goal_week=26 - weeks, scores=kept))


def test_plain_floats_give_the_arrays_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging a series alone gives the same bits with plain floats as with arrays."""
    of = batch(simulate(World(weeks=20), 25, 14), alone=True)
    of = replace(of, began=np.where(np.arange(25) % 2, 0, 2)).rows(np.array([0]))
    plain = judge_bulk(of).estimate
    monkeypatch.setattr("app.response.rules.monitor.alone.FEW", 0)
    arrays = judge_bulk(of).estimate
    for f in fields(plain):
        assert list(getattr(plain, f.name)) == list(getattr(arrays, f.name))


def test_down_is_better_and_other_units_are_the_mirror_image() -> None:
    of = batch(simulate(World(weeks=12), 50, 9))
    down = replace(
        of,
        values=-3 * of.values,
        baseline=-3 * of.baseline,
        goal_rate=-3 * of.goal_rate,
        goal=-3 * of.goal,
        sem=3 * of.sem,
    )
    one, other = judge_bulk(of), judge_bulk(down)
    assert list(one.state) == list(other.state)
    assert other.estimate.statistic == pytest.approx(one.estimate.statistic, abs=1e-9)


def test_what_cannot_be_judged_is_insufficient_data() -> None:
    """A series without standard error, without enough scores or with a goal rate of 0 gives insufficient data.

    The other series of the batch are judged.
    """
    of = batch(simulate(World(weeks=12, missing=0), 25, 10))
    values, sem, rate = of.values.copy(), of.sem.copy(), of.goal_rate.copy()
    sem[0], rate[1] = np.nan, 0.0
    values[2] = np.nan
    values[3, 2:] = np.nan
    judged = judge_bulk(replace(of, values=values, sem=sem, goal_rate=rate))
    assert {STATES[s] for s in judged.state[:4]} == {State.INSUFFICIENT_DATA}
    assert State.INSUFFICIENT_DATA not in {STATES[s] for s in judged.state[4:]}
    assert judged.last[3] == 2


def test_a_cohorts_hard_passage_is_allowed_for() -> None:
    """If a whole cohort scores low in a week, a student's verdict changes less than it would without classmates."""
    year = simulate(World(weeks=12, growth=(1.6, 0.1), stopping=0, form_share=0.1), 100, 3)
    lower = year.scores.copy()
    lower[:, 11] -= 12
    rise = {}
    for alone in (True, False):
        before, after = (judge_bulk(batch(y, alone=alone)) for y in (year, replace(year, scores=lower)))
        rise[alone] = np.mean(after.estimate.statistic - before.estimate.statistic)
    assert rise[False] < 0.85 * rise[True]


def test_a_calibration_reads_back_from_its_json_and_changes_the_threshold() -> None:
    own = replace(PUBLISHED, thresholds=tuple(t + 0.5 for t in PUBLISHED.thresholds), noise=1.25, series=500)
    assert Calibration.from_json(own.as_json()).as_json() == own.as_json()
    assert Calibration.from_json(PUBLISHED.as_json()) == PUBLISHED
    assert own.threshold_at(0.10) == pytest.approx(PUBLISHED.threshold_at(0.10) + 0.5)
    of = batch(simulate(World(weeks=12), 50, 9))
    assert (judge_bulk(of, own).estimate.statistic != judge_bulk(of).estimate.statistic).any()


@pytest.mark.parametrize(
    ("contents", "place"),
    [
        ({"noises": 1.0}, "^noises: "),
        ({"noise": 0}, "noise above zero"),
        ({"thresholds": [1.0]}, "has 10 thresholds"),
        ({"adaptive": [*range(10)]}, "fall as the stated rate rises"),
        ({"prior": []}, "^prior: "),
        ({"prior": {"wobble": "much"}, "noise": "loud"}, r"^noise: .*; prior\.wobble: "),
        ({"prior": {"befor": [1, 2]}}, r"^prior\.befor: "),
        ({"prior": {"hazard": 2}}, "a hazard between 0 and 1"),
        ([], "should be a dictionary"),
    ],
)
def test_a_calibration_that_was_changed_by_hand_is_refused_by_name_of_its_fault(contents: Any, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        Calibration.from_json(contents)


def test_nothing_of_nothing() -> None:
    of = batch(simulate(World(weeks=12), 25, 9))
    judged = judge_bulk(of.rows(np.zeros(0, np.int64)))
    assert {len(getattr(judged.estimate, f.name)) for f in fields(judged.estimate)} == {0}

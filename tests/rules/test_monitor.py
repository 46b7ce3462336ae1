"""Tests the response monitor: it agrees with other methods of computation, irrelevant changes of the input do not
change its results, and its sentences are right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.response.rules.choose import RULES, judge
from app.response.rules.monitor.filters import posterior
from app.response.rules.monitor.forms import Cohorts, Paths, form_effects
from app.response.rules.monitor.model import NODES, Array, Prior, normal_cdf
from app.response.rules.monitor.panel import Panel, judge_panel, judge_weeks, starting_level
from app.response.rules.monitor.rates import GRID
from app.response.rules.monitor.steps import Steps
from app.response.rules.series import DeliveredMinutes, Observation, Series
from app.response.rules.verdict import ALARMS, NonresponseKind, State
from bench.response.figures import figures, first_flag
from bench.response.monitor import kind_accuracy, panel, run_monitor
from bench.response.world import World, simulate

PRIOR = Prior()


def series(
    values: Iterable[float], *, sem: float | None = 4.0, dosage: DeliveredMinutes | None = None, goal_rate: float = 1.5
) -> Series:
    observations = tuple(Observation(n + 1, float(v), f"sco_{n}") for n, v in enumerate(values))
    return Series(observations, 30.0, 30 + 60 * goal_rate, 60, sem=sem, dosage=dosage)


def dense(
    times: NDArray[np.int64], y: Array, g: float, start: tuple[float, float], prior: Prior
) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Computes the monitor's posterior by another method, with complete covariance matrices.

    Returns the log weight, the mean and the standard deviation for each week of change and each level of noise.
    """
    last = int(times[-1])
    out: dict[tuple[int, int], tuple[float, float, float]] = {}
    seen = ~np.isnan(y)
    t, y = times[seen].astype(float), y[seen]
    for change in (0, *range(1, last)):
        early, late = (np.minimum(t, change), np.maximum(t - change, 0)) if change else (t, 0 * t)
        mean = start[0] + g * (prior.before[0] * early + prior.after[0] * late)
        steps = Steps.of(np.arange(last + 1), np.array([0]), None, np.array([g]), prior)
        cov = start[1] + steps.variance[0, 0] * np.minimum.outer(t, t)
        cov += (prior.before[1] * g) ** 2 * np.outer(early, early) + (prior.after[1] * g) ** 2 * np.outer(late, late)
        belief, line = (prior.after, late) if change else (prior.before, early)
        weeks = change if change else last
        stay = (weeks - 1) * np.log1p(-prior.hazard) + (np.log(prior.hazard) if change else 0)
        for n, z in enumerate(NODES):
            whole = cov + np.eye(len(t)) * np.exp(2 * prior.noise_spread * z)
            solved = np.linalg.solve(whole, np.column_stack([y - mean, line * belief[1] ** 2 * g]))
            ll = -0.5 * ((y - mean) @ solved[:, 0] + np.linalg.slogdet(whole)[1]) - 0.5 * z * z + stay
            rate = belief[0] + line @ solved[:, 0] * belief[1] ** 2 * g
            sd = np.sqrt(belief[1] ** 2 - (line * belief[1] ** 2 * g) @ solved[:, 1])
            out[change, n] = float(ll), float(rate), float(sd)
    return out


def test_the_two_filters_give_the_exact_gaussian_posterior() -> None:
    """A forward and a backward filter together give the same posterior as dense matrices.

    In the tested scores, two weeks have two scores each, and one of these scores is missing.
    """
    rng = np.random.default_rng(8)
    times = np.array([0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9])
    y = 4 + 0.19 * np.minimum(times, 5) + 0.5 * rng.normal(size=len(times))
    y[5] = np.nan
    result = posterior(
        times,
        y[:, None],
        np.full((12, 1), PRIOR.share),
        np.array([0.19]),
        (np.array([4.2]), np.array([1.5])),
        np.full(12, 1 - PRIOR.share),
        PRIOR,
        np.array([0]),
        np.array([9]),
    )
    expected = dense(times, y, 0.19, (4.2, 1.5), PRIOR)
    top = max(value[0] for value in expected.values())
    total = sum(np.exp(value[0] - top) for value in expected.values())
    for (week, n), (ll, rate, sd) in expected.items():
        change = week and week + 1
        assert result.weight[change, n, 0] == pytest.approx(np.exp(ll - top) / total, rel=1e-8)
        assert result.mean[change, n, 0] == pytest.approx(rate, abs=1e-9)
        assert result.sd[change, n, 0] == pytest.approx(sd, abs=1e-9)


def test_the_normal_distribution_holds_in_both_tails() -> None:
    assert normal_cdf(np.array([-6.0, -1.0, 0.0, 1.0, 6.0])) == pytest.approx(
        [9.865876450377018e-10, 0.15865525393145707, 0.5, 0.8413447460685429, 1 - 9.865876450377018e-10], rel=2e-7
    )


def effects(of: Panel) -> tuple[Array, Array]:
    """Returns the estimated effects of forms and their variances. Each array has a row for each form."""
    cohorts = Cohorts.of(of.cohort)
    paths = Paths(of.times, of.values, of.g, starting_level(of, cohorts), of.starts)
    surprise = paths.upto(len(of.times), (1 - PRIOR.share) * of.noise, PRIOR)
    effect, variance = form_effects(paths, paths.weighted(surprise), cohorts, PRIOR)
    return effect.T, variance.T


def test_what_students_share_gives_each_ones_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inverse covariance matrices that are computed for all students together equal those computed for each student
    alone.
    """
    whole = panel(simulate(World(weeks=20, missing=0.3), 50, 3))
    whole = replace(whole, g=np.linspace(0.1, 0.4, 50), began=np.repeat([0, 3], 25))
    own, cohorts = (1 - PRIOR.share) * whole.noise, Cohorts.of(whole.cohort)

    def paths(*slots: int) -> Paths:
        made = Paths(whole.times, whole.values, whole.g, starting_level(whole, cohorts), whole.starts)
        for slot in slots:
            made.upto(slot, own, PRIOR)
        return made

    shared, grown = paths(len(own)), paths(8, 9, len(own))
    monkeypatch.setattr(Paths, "_at_once", staticmethod(Paths._each))
    each = paths(len(own))
    assert np.abs(shared.inverse - each.inverse).max() < 1e-12
    assert np.abs(grown.inverse - each.inverse).max() < 1e-12
    assert (each.inverse[~each.has_score] == 0).all()
    assert np.abs(shared.inverse[~shared.has_score]).max() < 1e-12


def test_the_difficulty_of_forms_is_recovered() -> None:
    """The estimated difficulties of forms correlate by .85 or more with those computed from a thousand students."""
    many = panel(simulate(World(cohort=1000), 1000, 12))
    truth, _ = effects(many)
    seen, variance = effects(replace(many, cohort=np.arange(1000) // 25))
    assert np.corrcoef(truth[3:, 0], seen[3:, 0])[0, 1] > 0.85
    assert seen.std() == pytest.approx(np.sqrt(PRIOR.share), rel=0.25)
    assert (variance < PRIOR.share).all()


def test_a_cohort_is_judged_by_itself_alone() -> None:
    """The judgement of a cohort does not depend on other cohorts that are judged in the same call."""
    whole = panel(simulate(World(weeks=12), 75, 2))
    alone = judge_panel(whole.part(slice(25, 50)), PRIOR)
    together = judge_panel(whole, PRIOR)
    assert together.statistic[25:50] == pytest.approx(alone.statistic, abs=1e-9)
    assert list(together.change[25:50]) == list(alone.change)


def test_a_hard_passage_for_everyone_is_nobodys_stall() -> None:
    """If a whole cohort scores one and a half SEM lower in a week, this is mostly attributed to the week's reading
    passage.
    """
    year = simulate(World(weeks=12, growth=(1.6, 0.1), stopping=0, form_share=0.1), 250, 3)
    lower = year.scores.copy()
    lower[:, 11] -= 12
    moved = []
    for y in (year, replace(year, scores=lower)):
        moved.append(effects(panel(y))[0][-1].mean())
    assert moved[1] - moved[0] < -1.0
    rise = {}
    for adjust in (True, False):
        before, after = (judge_panel(panel(y), PRIOR, adjust=adjust) for y in (year, replace(year, scores=lower)))
        rise[adjust] = np.mean(after.statistic - before.statistic)
    assert abs(rise[True]) < 0.8 * rise[False]


def test_a_group_that_stalls_as_a_whole_is_not_explained_away() -> None:
    year = simulate(World(growth=(1.8, 0.2), stopping=1.0, stops=(10, 10)), 500, 5)
    flags = first_flag(run_monitor(year).statistic, RULES["monitor"].threshold_at(0.10))
    assert figures(flags, year).value["S10"] > 0.3


def test_week_by_week_is_what_each_week_alone_would_say() -> None:
    """Judging several weeks in one call gives the same results as judging each week in its own call, up to rounding."""
    whole = panel(simulate(World(weeks=12), 50, 4))
    for week, estimate in zip((5, 9, 12), judge_weeks(whole, PRIOR, (5, 9, 12)), strict=True):
        alone = judge_panel(whole, PRIOR, week=week)
        assert estimate.statistic == pytest.approx(alone.statistic, abs=1e-9)
        assert list(estimate.change) == list(alone.change)


def test_a_phase_that_begins_later_in_the_calendar_is_the_same_series() -> None:
    """A series that is shifted along the calendar gives the same result."""
    whole = panel(simulate(World(weeks=12), 50, 4))
    later = replace(whole, times=whole.times + 7, began=np.full(50, 7))
    one, other = judge_panel(whole, PRIOR), judge_panel(later, PRIOR)
    assert one.statistic == pytest.approx(other.statistic, abs=1e-9)
    assert list(one.change) == list(other.change)


@pytest.mark.long
def test_the_stated_rate_holds_in_a_small_population() -> None:
    """The stated false-alarm rate holds in a simulated population of 2,000 students."""
    year = simulate(World(), 2000, 99)
    watched, threshold = run_monitor(year), RULES["monitor"].threshold_at(0.10)
    value = figures(first_flag(watched.statistic, threshold), year).value
    assert value["FAR"] < 0.14
    assert value["N12"] > 0.72
    assert value["S10"] > 0.58
    accuracy = kind_accuracy(watched, year, threshold)
    assert accuracy["change error"] <= 2
    assert accuracy["never"] > 0.9


def test_never_and_stopped_are_said_in_one_sentence() -> None:
    never = judge("monitor", series([30 + 0.1 * t for t in range(1, 16)]))
    assert (never.state, never.kind) == (State.NOT_RESPONDING, NonresponseKind.NEVER)
    stopped = judge("monitor", series([30 + 2 * min(t, 10) for t in range(1, 21)]))
    assert (stopped.state, stopped.kind) == (State.NOT_RESPONDING, NonresponseKind.STOPPED)
    assert stopped.change_week is not None
    assert abs(stopped.change_week - 10) <= 1
    assert "growth is now under half of the 1.5 a week that the goal needs with a probability of" in stopped.sentence
    assert f"the slowdown most likely began about week {stopped.change_week}" in stopped.sentence
    low, rate, high = (one for one in (stopped.rate_low, stopped.rate, stopped.rate_high) if one is not None)
    assert low < rate < high
    growing = judge("monitor", series([30 + 1.6 * t for t in range(1, 16)]))
    assert (growing.state, growing.kind) == (State.RESPONDING, None)


def delivery(*weeks: tuple[int, float]) -> DeliveredMinutes:
    """Returns the minutes of weeks in which 90 minutes are planned.

    Each pair in `weeks` is a number of weeks and the share of the planned minutes that is delivered in each of them.
    """
    shares = [share for number, share in weeks for _ in range(number)]
    return DeliveredMinutes((90.0,) * len(shares), tuple(90 * share for share in shares))


def test_growth_in_proportion_to_the_delivery_is_not_blamed_on_the_student() -> None:
    """If half of the sessions were delivered, a student who grows at half of the required rate is not flagged.

    The state is then `under_delivered`. A student who does not grow although 90 % were delivered is flagged.
    """
    halved = [30 + 0.75 * t for t in range(1, 16)]
    short = judge("monitor", series(halved, dosage=delivery((15, 0.5))))
    assert (short.state, short.kind) == (State.UNDER_DELIVERED, None)
    assert "50 % of the planned minutes were delivered" in short.sentence
    assert short.rate is not None
    assert judge("monitor", series(halved)).state in ALARMS
    unknown = judge("monitor", series([30.0] * 15, dosage=delivery((15, float("nan")))))
    assert unknown.state is State.NOT_RESPONDING
    assert judge("monitor", series([30.0] * 15, dosage=delivery((15, 0.9)))).state in ALARMS
    assert judge("monitor", series([30.0] * 15, dosage=delivery((15, 0.0)))).state is State.UNDER_DELIVERED


def test_a_session_lost_now_and_then_explains_no_alarm() -> None:
    """An alarm is explained by too little delivery only if much is missing.

    A delivered share of 95 % explains no alarm; a share of 80 % can explain one.
    """
    states: dict[float, set[State]] = {}
    for share in (0.95, 0.8):
        random = np.random.default_rng(5)
        for rate in (0.1, 0.5, 1.0) * 4:
            values = [float(value) for value in 30 + rate * np.arange(1, 16) + random.normal(0, 4.0, 15)]
            states.setdefault(share, set()).update(
                judge("monitor", series(values[:weeks], dosage=delivery((weeks, share)))).state
                for weeks in range(3, 16)
            )
    assert State.UNDER_DELIVERED not in states[0.95]
    assert State.UNDER_DELIVERED in states[0.8]
    assert states[0.95] & ALARMS


def test_lost_weeks_are_not_counted_after_delivery_is_restored() -> None:
    """A student who grows on pace once the support is delivered is never flagged for the weeks without it."""
    lost, full = delivery((8, 0.0), (12, 1.0)), delivery((20, 1.0))
    restored = [30 + 1.6 * max(t - 8, 0) for t in range(1, 21)]
    for weeks in range(10, 21):
        state = judge("monitor", series(restored[:weeks], dosage=lost)).state
        assert state not in ALARMS, weeks
    assert judge("monitor", series(restored[:12], dosage=full)).state in ALARMS


def test_no_week_of_a_cumulative_share_changes_the_statistic_by_a_jump() -> None:
    """A small change of the delivered share changes the statistic only a little, also around a share of 80 %."""
    flat = [30 + 0.5 * t for t in range(1, 16)]
    shares = np.arange(0.74, 0.861, 0.01)
    statistics = [judge("monitor", series(flat, dosage=delivery((15, float(share))))).statistic for share in shares]
    changes = np.diff(np.array(statistics, dtype=float))
    assert (changes > 0).all()
    assert changes.max() < 0.5


def test_delivery_gives_the_same_bits_alone_and_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """With partial delivery, judging a series alone gives the same bits as judging it together with others."""
    whole = panel(simulate(World(weeks=15), 25, 4))
    rng = np.random.default_rng(4)
    delivered = np.where(rng.random((15, 25)) < 0.5, 1.0, rng.random((15, 25)))
    delivered[:, 10:] = 1.0
    whole = replace(whole, cohort=np.arange(25), delivered=delivered)
    together = judge_panel(whole, PRIOR)
    for array_limit in (2, 0):
        monkeypatch.setattr("app.response.rules.monitor.alone.FEW", array_limit)
        for n in (0, 9, 10, 24):
            alone = judge_panel(whole.part(slice(n, n + 1)), PRIOR)
            for f in fields(alone):
                assert getattr(alone, f.name)[0] == getattr(together, f.name)[n]
    as_planned = judge_panel(replace(whole, delivered=None), PRIOR)
    assert list(together.if_delivered) == pytest.approx(list(as_planned.statistic), abs=1e-9)
    assert (together.statistic[:10] < as_planned.statistic[:10]).all()
    assert list(together.statistic[10:]) == list(as_planned.statistic[10:])


def test_the_filters_are_exact_with_partial_delivery() -> None:
    """With partial delivery, the filters give the same posterior as a computation with dense matrices.

    In this computation, a week's growth is the rate times the delivered share of the week.
    """
    rng = np.random.default_rng(5)
    shares, g = np.array([1, 0.5, 0.2, 0.0, 1, 0.7, 1, 1.0]), 0.2
    times, y = np.arange(9), 4 + 0.2 * rng.normal(size=9)
    result = posterior(
        times,
        y[:, None],
        np.full((9, 1), PRIOR.share),
        np.array([g]),
        (np.array([4.0]), np.array([1.0])),
        np.full(9, 1 - PRIOR.share),
        PRIOR,
        np.array([0]),
        np.array([8]),
        shares[:, None],
    )
    steps = Steps.of(times, np.array([0]), shares[:, None], np.array([g]), PRIOR)
    wobbles = np.cumsum(steps.variance[:, 0])
    grown = np.r_[0, np.cumsum(shares)]
    for change in (0, 3, 5):
        early = np.minimum(grown, grown[change]) if change else grown
        late = grown - early
        noise = np.exp(2 * PRIOR.noise_spread * NODES[2])
        covariance = 1.0 + np.minimum.outer(wobbles, wobbles) + noise * np.eye(9)
        for part, spread in ((early, PRIOR.before[1]), (late, PRIOR.after[1])):
            covariance += (spread * g) ** 2 * np.outer(part, part)
        mean = 4.0 + g * (PRIOR.before[0] * early + PRIOR.after[0] * late)
        belief, line = (PRIOR.after, late) if change else (PRIOR.before, early)
        rate = belief[0] + belief[1] ** 2 * g * line @ np.linalg.solve(covariance, y - mean)
        assert result.mean[change + 1 if change else 0, 2, 0] == pytest.approx(rate, abs=1e-9)


def test_without_a_sem_it_says_so_and_guesses_nothing() -> None:
    verdict = judge("monitor", series([30.0] * 15, sem=None))
    assert (verdict.state, verdict.because[0].code) == (State.INSUFFICIENT_DATA, "no_sem")


@given(
    values=st.lists(st.integers(0, 100), min_size=3, max_size=25),
    scale=st.sampled_from([0.1, 0.5, 3.0, 7.3]),
    shift=st.sampled_from([-20.0, 0.1, 33.3]),
)
def test_shift_and_scale_move_the_statistic_by_less_than_a_millionth(
    values: list[int], scale: float, shift: float
) -> None:
    one = series(values)
    moved = Series(
        tuple(o._replace(value=scale * o.value + shift) for o in one.observations),
        scale * one.baseline + shift,
        scale * one.goal + shift,
        one.goal_week,
        sem=scale * 4.0,
    )
    first, second = judge("monitor", one), judge("monitor", moved)
    assert first.state is second.state
    assert first.statistic == pytest.approx(second.statistic, abs=1e-6, rel=0)


def test_one_wild_score_counts_for_no_more_than_three_standard_errors() -> None:
    values = [30 + 1.6 * t for t in range(1, 16)]
    wild, wilder = [*values[:-1], 0.0], [*values[:-1], -400.0]
    assert judge("monitor", series(wilder)).statistic == pytest.approx(
        judge("monitor", series(wild)).statistic, abs=0.5
    )


def test_a_kind_that_is_nearly_the_other_is_not_stated_as_certain() -> None:
    """The sentence of an alarm of the kind `never` says that growth was never on pace for long.

    It does not say that there was no sign of growth, because growth may have been on pace for some weeks.
    """
    random = np.random.default_rng(2)
    sentences = []
    for _ in range(60):
        kept = int(random.integers(2, 6))
        values = [float(30 + 1.5 * min(t, kept) + random.normal(0, 4.0)) for t in range(1, 16)]
        verdict = judge("monitor", series(values))
        if verdict.kind is NonresponseKind.NEVER:
            sentences.append(verdict.sentence)
    assert len(sentences) > 10
    assert all("the scores do not show that it was ever on pace for long" in sentence for sentence in sentences)
    assert not any("no sign" in sentence for sentence in sentences)


def test_thresholds_fall_as_the_stated_rate_rises() -> None:
    for rule, table in ((rule, rule.thresholds) for rule in RULES.values() if rule.thresholds is not None):
        assert len(table) == len(GRID)
        assert list(table) == sorted(table, reverse=True)
        assert rule.threshold_at(0.075) == pytest.approx((table[2] + table[3]) / 2, abs=1e-3)
        assert rule.threshold_at(0.01) == table[0] < rule.threshold_at(0.005) < rule.threshold_at(0.001)

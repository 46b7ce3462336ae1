"""Tests what must hold for every decision rule and every series of scores.

For example, the order of arrival and the units of the measure do not change a verdict, and judging twice gives the same
bytes.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.response.rules.choose import RULES, judge
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import NonresponseKind, State
from tests.rules.verdict_bytes import canonical_bytes

pytestmark = pytest.mark.long

rules = pytest.mark.parametrize("rule", list(RULES))


@st.composite
def any_series(draw: st.DrawFn) -> Series:
    """Generates scores in different weeks, as whole numbers near and far from a rising or falling aimline."""
    weeks = sorted(draw(st.sets(st.integers(0, 40), max_size=20)))
    baseline, rise = draw(st.integers(-50, 50)), draw(st.integers(1, 60))
    values = draw(st.lists(st.integers(-60, 120), min_size=len(weeks), max_size=len(weeks)))
    observations = tuple(Observation(t, v, f"sco_{t}") for t, v in zip(weeks, values, strict=True))
    series = Series(observations, baseline, baseline + rise, draw(st.integers(1, 40)), sem=7.0)
    return mirrored(series) if draw(st.booleans()) else series


def moved(series: Series, scale: float, shift: float) -> Series:
    """Returns the same series on another scale; a negative scale reverses the direction."""
    direction = series.direction if scale > 0 else ("down" if series.direction == "up" else "up")
    observations = tuple(o._replace(value=scale * o.value + shift) for o in series.observations)
    baseline, goal = (scale * v + shift for v in (series.baseline, series.goal))
    sem = None if series.sem is None else abs(scale) * series.sem
    return Series(observations, baseline, goal, series.goal_week, direction, sem)


def mirrored(series: Series) -> Series:
    return moved(series, -1, 0)


@rules
@given(series=any_series())
def test_too_few_scores_give_insufficient_data_and_enough_never_do(rule: str, series: Series) -> None:
    least = RULES[rule].parameter.default
    early = not series.weeks or series.weeks[-1] < RULES[rule].defaults.get("from_week", 0)
    few = len(series.observations) < least
    assert (judge(rule, series).state is State.INSUFFICIENT_DATA) == (few or early)


@rules
@given(series=any_series(), seed=st.integers(0, 9))
def test_the_order_of_arrival_changes_nothing(rule: str, series: Series, seed: int) -> None:
    arrived = random.Random(seed).sample(series.observations, len(series.observations))
    repeated = replace(series, observations=tuple(arrived))
    assert canonical_bytes(judge(rule, repeated)) == canonical_bytes(judge(rule, series))


@rules
@given(series=any_series(), scale=st.sampled_from([0.1, 0.5, 3, 7.3]), shift=st.sampled_from([-20, 0.1, 33.3]))
def test_the_units_of_the_measure_change_nothing(rule: str, series: Series, scale: float, shift: float) -> None:
    one, other = judge(rule, series), judge(rule, moved(series, scale, shift))
    assert (one.state, one.kind, one.change_week) == (other.state, other.kind, other.change_week)


@rules
@given(series=any_series())
def test_down_is_better_is_the_mirror_of_up_is_better(rule: str, series: Series) -> None:
    one, other = judge(rule, series), judge(rule, mirrored(series))
    assert (one.state, one.kind, one.change_week) == (other.state, other.kind, other.change_week)
    assert one.required_rate == -other.required_rate
    assert [reason.code for reason in one.because] == [reason.code for reason in other.because]


@rules
@given(series=any_series())
def test_judging_twice_gives_the_same_bytes_and_they_read_back(rule: str, series: Series) -> None:
    verdict = judge(rule, series)
    assert canonical_bytes(verdict) == canonical_bytes(judge(rule, series))
    assert orjson.loads(canonical_bytes(verdict)) == verdict.as_json()
    assert not re.search(rb"-0\.0[,}]", canonical_bytes(verdict))


@rules
@settings(max_examples=300)
@given(series=any_series())
def test_a_met_goal_is_never_not_responding_and_a_kind_goes_only_with_it(rule: str, series: Series) -> None:
    verdict = judge(rule, series)
    last = sorted(o.value for o in series.observations[-3:])
    met = len(last) == 3 and (last[1] >= series.goal if series.direction == "up" else last[1] <= series.goal)
    if verdict.state is not State.INSUFFICIENT_DATA:
        assert met == (verdict.state is State.GOAL_MET)
    assert (verdict.kind is not None) == (verdict.state is State.NOT_RESPONDING)
    assert (verdict.change_week is not None) == (verdict.kind is NonresponseKind.STOPPED)


@rules
@given(series=any_series())
def test_the_sentence_is_one_sentence_and_never_says_wait(rule: str, series: Series) -> None:
    sentence = judge(rule, series).sentence
    assert re.fullmatch(r"[A-Z].*[^.]\.", sentence)
    assert ". " not in sentence
    assert "wait" not in sentence.lower()

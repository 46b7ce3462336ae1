"""Tests the probabilities of growth in a verdict: they add up to one, are calibrated, and decide an alarm's label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.response.aimline import Direction
from app.response.rules.choose import RULES, judge
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import ALARMS, NonresponseKind, Shares, State
from app.response.rules.wording import LABELS, MAJORITY, NAMED, label, needs_more_than_scores, percents, state_shares
from bench.response.shares import ends, judge_population
from bench.response.world import World, simulate

GROWTH_RULES = [name for name, rule in RULES.items() if rule.judges_growth]


def series(values: list[float], sem: float | None = 4.0) -> Series:
    observations = tuple(Observation(n + 1, value, f"sco_{n}") for n, value in enumerate(values))
    return Series(observations, 30.0, 75.0, 30, sem=sem)


@pytest.mark.parametrize("rule", GROWTH_RULES)
@given(values=st.lists(st.floats(0, 120), min_size=3, max_size=20))
def test_every_growth_rule_states_shares_that_add_to_one(rule: str, values: list[float]) -> None:
    """With three scores or more, every rule for growth states probabilities that add up to 1, whatever it concludes."""
    verdict = judge(rule, series(values))
    assert verdict.slow is not None
    assert verdict.short is not None
    assert verdict.on_pace is not None
    assert min(verdict.slow, verdict.short, verdict.on_pace) >= 0
    assert round(verdict.slow + verdict.short + verdict.on_pace, 6) == 1
    assert (verdict.state is State.NOT_RESPONDING) <= (verdict.slow >= NAMED)
    assert verdict.state not in ALARMS or (verdict.slow >= NAMED) == (verdict.state is State.NOT_RESPONDING)


@pytest.mark.parametrize("rule", GROWTH_RULES)
def test_without_an_sem_a_flag_has_no_name(rule: str) -> None:
    """Without a standard error of measurement, an alarm is never called "not responding".

    The probability of slow growth cannot be computed without it.
    """
    verdict = judge(rule, series([30.0] * 12, sem=None))
    assert (verdict.slow, verdict.kind) == (None, None)
    assert verdict.state in (State.OFF_TRACK, State.INSUFFICIENT_DATA)
    assert "slow" not in verdict.as_json()


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("rule", GROWTH_RULES)
@given(values=st.lists(st.floats(0, 120), min_size=3, max_size=20))
def test_every_sentence_states_the_shares_and_contradicts_none(
    rule: str, direction: Direction, values: list[float]
) -> None:
    """From three scores on, the sentence of every rule states the probabilities, also if the goal is met.

    No sentence suggests a higher goal, and no label says "Off track", if the probabilities say the contrary.
    """
    goal = 75.0 if direction == "up" else -15.0
    observations = tuple(Observation(n + 1, value, f"sco_{n}") for n, value in enumerate(values))
    verdict = judge(rule, Series(observations, 30.0, goal, 30, direction, sem=4.0))
    assert verdict.slow is not None
    assert verdict.short is not None
    assert verdict.on_pace is not None
    shares = Shares(verdict.slow, verdict.short, verdict.on_pace)
    is_met = verdict.state is State.GOAL_MET
    assert state_shares(shares, 1.5, direction, is_met=is_met) in verdict.sentence
    assert "half of the -" not in verdict.sentence
    if not is_met and verdict.on_pace < MAJORITY:
        assert "more ambitious goal" not in verdict.sentence
        assert "suggest_higher_goal" not in {reason.code for reason in verdict.because}
    if verdict.on_pace >= MAJORITY:
        assert label(verdict.state, verdict.kind, verdict.on_pace, direction) != "Off track"
        assert "will be missed" not in verdict.sentence


def test_scores_above_the_line_suggest_no_higher_goal_once_growth_has_stopped() -> None:
    """A student who rose above the aimline and then stopped gets no more ambitious goal from the 4-point rule."""
    values = [30 + 4.0 * min(week, 8) for week in range(1, 17)]
    verdict = judge("four-point", series(values))
    assert (verdict.state, (verdict.on_pace or 1) < 0.1) == (State.RESPONDING, True)
    assert "above the aimline, so this rule gives no reason to change the support; given these" in verdict.sentence
    growing = judge("four-point", series([30 + 4.0 * week for week in range(1, 9)]))
    assert "so a more ambitious goal can be set; given these scores, growth is now" in growing.sentence


def test_a_flat_series_is_off_track_first_and_named_later() -> None:
    """A student who does not grow is off track first, and "not responding" later, when enough scores support it."""
    rng = np.random.default_rng(4)
    values = [30 + 0.5 * week + 3 * noise for week, noise in enumerate(rng.normal(size=26), 1)]
    states = [judge("monitor", series(values[:number])).state for number in range(3, 27)]
    first = next(n for n, state in enumerate(states) if state in ALARMS)
    assert states[first] is State.OFF_TRACK
    assert State.NOT_RESPONDING in states[first:]


def test_the_sentence_states_the_shares_in_whole_percent() -> None:
    """The probabilities in the sentence of a verdict are whole percentages, and they add up to 100."""
    verdict = judge("monitor", series([30.0 + 0.2 * week for week in range(15)]))
    assert verdict.slow is not None
    assert verdict.short is not None
    assert verdict.on_pace is not None
    slow, short, on_pace = percents(Shares(verdict.slow, verdict.short, verdict.on_pace))
    assert f"{slow} %, between half and all of it with {short} %, and on pace with {on_pace} %" in verdict.sentence


@given(slow=st.floats(0, 1), under=st.floats(0, 1))
def test_percents_add_to_a_hundred(slow: float, under: float) -> None:
    """The whole percentages always add up to 100."""
    shares = Shares.below(slow * under, under)
    assert sum(percents(shares)) == 100
    assert all(abs(percent - 100 * share) <= 1 for percent, share in zip(percents(shares), shares.each, strict=True))


def test_no_label_says_more_than_its_verdict() -> None:
    """The short label of a verdict claims no more than the verdict. Screens show the label without the sentence."""
    assert set(LABELS) == set(State) - {State.NOT_RESPONDING, State.RESPONDING}
    assert label(State.NOT_RESPONDING, NonresponseKind.STOPPED, 0.02) == "Stopped responding"
    assert label(State.RESPONDING, None, 0.7) == "Responding"
    assert label(State.RESPONDING, None, 0.2) != "Responding"
    assert label(State.RESPONDING, None, 0.04) == "No alarm, below pace"
    assert label(State.BELOW_PACE, None, 0.05) == "Growing, below pace"
    assert label(State.OFF_TRACK, None, 0.05) == "Off track"
    assert label(State.OFF_TRACK, None, 0.6) == "Alarm, pace not clear"


def test_a_series_that_no_score_would_help_is_not_called_too_short() -> None:
    """The label says "Cannot be judged" if the measure has no SEM, and "Too few scores" only where more would help."""
    without_sem = judge("monitor", series([30.0] * 9, sem=None))
    assert needs_more_than_scores(without_sem.state, without_sem.because)
    short = judge("monitor", series([30.0, 31.0]))
    assert short.state is State.INSUFFICIENT_DATA
    assert not needs_more_than_scores(short.state, short.because)
    assert not needs_more_than_scores(State.RESPONDING, without_sem.because)


def test_a_measure_whose_decrease_is_meant_is_not_called_growing() -> None:
    """The label of a measure for which lower is better says "improving" and not "growing".

    The label of a rule about a level says nothing about pace.
    """
    assert label(State.BELOW_PACE, None, 0.05, "down") == "Improving, below pace"
    assert label(State.BELOW_PACE, None, None, None) == "Part of the way to the goal"


@pytest.mark.parametrize("rule", [name for name in GROWTH_RULES if name != "monitor"])
@given(values=st.lists(st.floats(20, 60), min_size=8, max_size=14))
def test_a_flag_without_a_name_states_no_week_of_a_change(rule: str, values: list[float]) -> None:
    """The verdict of a classic rule describes the scores, and does not state that growth slowed.

    Otherwise it could state this about a student who probably grew on pace.
    """
    verdict = judge(rule, series(values))
    assert "slowed" not in verdict.sentence
    if verdict.change_week is None:
        assert "change" not in {reason.code for reason in verdict.because}


def test_the_shares_are_calibrated_in_a_fresh_population() -> None:
    """The mean error of each probability is under .02 in a population that was not used for its calibration.

    All students and all weeks are counted.
    """
    year = simulate(World(), 3000, 9001)
    errors = ends(judge_population(year), year).errors
    assert max(errors.values()) < 0.02, errors


def test_fewer_than_three_scores_have_no_shares() -> None:
    """A series of fewer than three scores has no probabilities of growth."""
    assert judge("monitor", series([30.0, 31.0])).slow is None
    assert replace(judge("four-point", series([30.0, 31.0, 33.0]))).slow is not None

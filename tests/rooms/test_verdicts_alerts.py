"""Tests when a verdict raises an alert: once per transition, with hysteresis, in whatever order scores arrive."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.response.judging.alerts import AlertSignal, ConclusionOfWeek, Memory, advance, as_json, from_json
from app.response.rules.choose import RULES, judge
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import State

STATES = st.sampled_from([state for state in State if state is not State.INSUFFICIENT_DATA])
NOT, NAMED, BETWEEN, GOOD = State.OFF_TRACK, State.NOT_RESPONDING, State.UNCERTAIN, State.RESPONDING


def advance_all(conclusions: list[ConclusionOfWeek], memory: Memory | None = None) -> tuple[Memory, list[AlertSignal]]:
    """Applies a sequence of verdicts, and returns the memory of alerts and all alert signals."""
    kept = memory or Memory("phase")
    signals: list[AlertSignal] = []
    for one in conclusions:
        kept, more = advance(kept, one)
        signals += more
    return kept, signals


def weekly(*states: State) -> list[ConclusionOfWeek]:
    """Returns one verdict with each of these states, one for each week. All weeks are finalized (complete)."""
    return [ConclusionOfWeek(state, week, finalized=True) for week, state in enumerate(states, 1)]


def test_an_alert_is_told_once_and_recovers_after_two_calm_weeks() -> None:
    """An alert is sent once, and recovers after two weeks without an alarm, not after one."""
    assert advance_all(weekly(GOOD, NOT, NOT, NOT))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(GOOD, NOT, GOOD))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(GOOD, NOT, GOOD, GOOD, GOOD))[1] == [AlertSignal.ALERT, AlertSignal.RECOVERED]


def test_a_rule_that_judges_the_last_scores_recovers_once_these_are_other_scores() -> None:
    """A rule that looks at the last three scores ends an alert after four calm weeks. Only weeks with scores count.

    One high score is among the last three in three weeks, and once ended an alert by itself. The number of calm weeks
    is stored between two verdicts.
    """

    def judged(*states: State, every: int = 1) -> list[AlertSignal]:
        memory, signals = Memory("phase"), list[AlertSignal]()
        for number, state in enumerate(states, 1):
            conclusion = ConclusionOfWeek(state, number * every, finalized=True, calm_weeks=4)
            memory, more = advance(from_json(json.loads(json.dumps(as_json(memory))), "phase"), conclusion)
            signals += more
        return signals

    for every in (1, 3):
        assert judged(NOT, GOOD, GOOD, GOOD, NOT, every=every) == [AlertSignal.ALERT]
        assert judged(NOT, GOOD, GOOD, BETWEEN, GOOD, GOOD, GOOD, every=every) == [AlertSignal.ALERT]
        assert judged(NOT, *(4 * [GOOD]), every=every) == [AlertSignal.ALERT, AlertSignal.RECOVERED]
    assert {name: rule.calm_weeks(rule.defaults) for name, rule in RULES.items()} == {
        **dict.fromkeys(RULES, 2),
        **{"four-point": 5, "three-point": 4, "median": 4, "level-change": 4},
    }


def test_counts_around_a_constant_mean_do_not_flap() -> None:
    """Of students whose incidents stay near the old number, hardly any is reported as off track twice in a school year.

    Of these 60 students, 19 once were, with a recovery between the two reports.
    """
    random = np.random.default_rng(3)
    reported = []
    for _ in range(60):
        values = random.poisson(9.2, 30)
        observations = [Observation(week, float(value)) for week, value in enumerate(values, 1)]
        memory, signals = Memory("phase"), list[AlertSignal]()
        for week in range(6, 31):
            verdict = judge("level-change", Series(tuple(observations[:week]), 10.0, 2.0, 30, "down"))
            calm_weeks = RULES[verdict.rule].calm_weeks(verdict.parameters)
            memory, more = advance(memory, ConclusionOfWeek(verdict.state, week, True, calm_weeks=calm_weeks))
            signals += more
        reported.append(signals.count(AlertSignal.ALERT))
    assert min(reported) == 1
    assert sum(number > 1 for number in reported) <= 6


def test_between_the_thresholds_nothing_changes() -> None:
    """An alert stays active while the statistic is below the alert threshold, but above the lower threshold for a watch
    (an early sign).
    """
    assert advance_all(weekly(NOT, BETWEEN, BETWEEN, NOT, BETWEEN, NOT))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(NOT, GOOD, BETWEEN, GOOD, NOT))[1] == [AlertSignal.ALERT]


def test_after_a_recovery_four_weeks_open_no_other_alert() -> None:
    """For four weeks from the recovery on, bad verdicts do not open another alert."""
    recovered = weekly(NOT, GOOD, GOOD)
    for week in (3, 4, 5, 6):
        _, signals = advance_all([*recovered, ConclusionOfWeek(NOT, week, finalized=True)])
        assert signals == [AlertSignal.ALERT, AlertSignal.RECOVERED], week
    _, signals = advance_all([*recovered, ConclusionOfWeek(NOT, 5), ConclusionOfWeek(NOT, 7)])
    assert signals == [AlertSignal.ALERT, AlertSignal.RECOVERED, AlertSignal.ALERT]


def test_nobody_recovers_below_pace() -> None:
    """A student who grows, but too slowly to meet the goal, has not recovered, however long this lasts."""
    below = State.BELOW_PACE
    assert advance_all(weekly(NOT, below, below, below, below))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(NOT, GOOD, below, GOOD))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(NOT, GOOD, below, GOOD, GOOD))[1] == [AlertSignal.ALERT, AlertSignal.RECOVERED]
    assert advance_all(weekly(NOT, State.GOAL_MET, State.GOAL_MET))[1] == [AlertSignal.ALERT, AlertSignal.RECOVERED]


def test_an_alert_is_named_at_most_once() -> None:
    """An alert is called "not responding" at most once: by the first such verdict while the alert is active."""
    assert advance_all(weekly(NOT, NOT, NAMED, NOT, NAMED))[1] == [AlertSignal.ALERT, AlertSignal.NAMED]
    assert advance_all(weekly(GOOD, NAMED, NAMED))[1] == [AlertSignal.ALERT, AlertSignal.NAMED]
    assert advance_all(weekly(NOT, BETWEEN, NAMED, GOOD, GOOD))[1] == [
        AlertSignal.ALERT,
        AlertSignal.NAMED,
        AlertSignal.RECOVERED,
    ]


def test_a_quiet_alert_is_named_in_silence() -> None:
    """If an alert was raised without an event, a later verdict "not responding" sends no event either.

    A verdict "not responding" that results from a backfill never sends an event.
    """
    assert advance_all([ConclusionOfWeek(NOT, 3, quiet=True), ConclusionOfWeek(NAMED, 4)])[1] == []
    named_quietly = [ConclusionOfWeek(NOT, 3), ConclusionOfWeek(NAMED, 4, quiet=True), ConclusionOfWeek(NAMED, 5)]
    assert advance_all(named_quietly)[1] == [AlertSignal.ALERT]
    raised = [ConclusionOfWeek(NAMED, 3, quiet=True), ConclusionOfWeek(NAMED, 3, raise_alerts=True)]
    assert advance_all(raised)[1] == [AlertSignal.ALERT, AlertSignal.NAMED]


def test_a_probe_is_asked_for_once_on_the_way_up() -> None:
    """More scores are requested once, when the statistic rises above the lower threshold, at which a watch begins.

    They are not requested if the statistic falls back to this range after an alert.
    """
    assert advance_all(weekly(GOOD, BETWEEN, BETWEEN, NOT))[1] == [AlertSignal.PROBE, AlertSignal.ALERT]
    assert advance_all(weekly(NOT, BETWEEN))[1] == [AlertSignal.ALERT]
    assert advance_all(weekly(BETWEEN, GOOD, GOOD, BETWEEN))[1] == [AlertSignal.PROBE, AlertSignal.PROBE]


def test_what_was_not_delivered_is_told_once() -> None:
    """Verdicts "under-delivered" in successive weeks give one signal, and an active alert stays active meanwhile."""
    under = State.UNDER_DELIVERED
    assert advance_all(weekly(GOOD, under, under))[1] == [AlertSignal.UNDER_DELIVERED]
    kept, signals = advance_all(weekly(NOT, under, NOT))
    assert signals == [AlertSignal.ALERT, AlertSignal.UNDER_DELIVERED]
    assert kept.alert.active


def test_a_provisional_alert_is_retracted_when_its_week_is_settled() -> None:
    """An alert of a week that is not complete yet is retracted by the final judging of the week, and not before."""
    first = [ConclusionOfWeek(GOOD, 4, finalized=True), ConclusionOfWeek(NOT, 5)]
    assert advance_all([*first, ConclusionOfWeek(GOOD, 5)])[1] == [AlertSignal.ALERT]
    assert advance_all([*first, ConclusionOfWeek(GOOD, 5), ConclusionOfWeek(GOOD, 5, finalized=True)])[1] == [
        AlertSignal.ALERT,
        AlertSignal.RETRACTED,
    ]
    assert advance_all([*first, ConclusionOfWeek(GOOD, 5), ConclusionOfWeek(GOOD, 6)])[1] == [
        AlertSignal.ALERT,
        AlertSignal.RETRACTED,
    ]


def test_an_amended_score_takes_its_alert_back_at_once() -> None:
    """After an amendment, an alert that would no longer be raised is retracted at once, and not recovered."""
    alert = weekly(GOOD, NOT, NOT)
    assert advance_all([*alert, ConclusionOfWeek(GOOD, 3, retractable=True)])[1] == [
        AlertSignal.ALERT,
        AlertSignal.RETRACTED,
    ]
    assert advance_all([*alert, ConclusionOfWeek(NOT, 3, retractable=True)])[1] == [AlertSignal.ALERT]


def test_what_was_raised_quietly_is_taken_back_quietly() -> None:
    """If an alert was raised without an event, its end sends no event either."""
    kept, signals = advance_all([ConclusionOfWeek(NOT, 3, quiet=True)])
    assert signals == []
    assert kept.alert.active
    assert advance_all([ConclusionOfWeek(NOT, 4), ConclusionOfWeek(GOOD, 5), ConclusionOfWeek(GOOD, 6)], kept)[1] == []


def test_the_end_of_what_was_told_is_told_also_when_it_comes_quietly() -> None:
    """If an alert sent an event, its end sends an event too.

    This also holds if the alert ends because of a backfill or new rules.
    """
    alert = weekly(GOOD, NOT, NOT)
    assert advance_all([*alert, ConclusionOfWeek(GOOD, 3, quiet=True, retractable=True)])[1] == [
        AlertSignal.ALERT,
        AlertSignal.RETRACTED,
    ]
    quiet = [
        ConclusionOfWeek(GOOD, 4, quiet=True),
        ConclusionOfWeek(GOOD, 5, quiet=True),
        ConclusionOfWeek(NOT, 9, quiet=True),
    ]
    kept, signals = advance_all([*alert, *quiet])
    assert signals == [AlertSignal.ALERT, AlertSignal.RECOVERED]
    assert kept.alert.active
    assert kept.alert.quiet


def test_new_rules_may_be_asked_to_alert() -> None:
    """If an alert was raised without an event and new rules with alerts confirm it, exactly one event is sent."""
    kept, _ = advance_all([ConclusionOfWeek(NOT, 3, quiet=True)])
    assert advance_all(
        [ConclusionOfWeek(NOT, 3, raise_alerts=True), ConclusionOfWeek(NOT, 3, raise_alerts=True)], kept
    )[1] == [AlertSignal.ALERT]


def test_what_is_told_is_what_the_verdict_says() -> None:
    """An alert is raised only if the verdict itself is an alarm. An alarm of an earlier verdict raises no alert now."""
    under = State.UNDER_DELIVERED
    back = [ConclusionOfWeek(NOT, 8), ConclusionOfWeek(GOOD, 8, retractable=True), ConclusionOfWeek(NOT, 8)]
    for other in (GOOD, BETWEEN, State.GOAL_MET, under):
        assert AlertSignal.ALERT not in advance_all([*back, ConclusionOfWeek(other, 9)])[1][2:]
    assert advance_all([*back, ConclusionOfWeek(GOOD, 9), ConclusionOfWeek(NOT, 10)])[1] == [
        AlertSignal.ALERT,
        AlertSignal.RETRACTED,
        AlertSignal.ALERT,
    ]
    undelivered = [ConclusionOfWeek(under, 8), ConclusionOfWeek(GOOD, 8, finalized=True), ConclusionOfWeek(under, 8)]
    assert advance_all([*undelivered, ConclusionOfWeek(GOOD, 9)])[1] == [AlertSignal.UNDER_DELIVERED]
    assert advance_all([*undelivered, ConclusionOfWeek(under, 9)])[1] == [AlertSignal.UNDER_DELIVERED] * 2
    assert (
        advance_all(
            [
                ConclusionOfWeek(NOT, 8, quiet=True),
                ConclusionOfWeek(GOOD, 9),
                ConclusionOfWeek(GOOD, 9, raise_alerts=True),
            ]
        )[1]
        == []
    )


def test_a_phase_line_begins_anew() -> None:
    """A new phase begins with an empty memory of alerts."""
    kept, _ = advance_all(weekly(NOT, NOT))
    stored = json.loads(json.dumps(as_json(kept)))
    assert from_json(stored, "phase") == kept
    assert from_json(stored, "another") == Memory("another")


@given(st.lists(STATES, min_size=1, max_size=8), st.lists(st.tuples(STATES, st.booleans()), max_size=12))
def test_within_a_week_an_alert_is_told_at_most_once(past: list[State], week: list[tuple[State, bool]]) -> None:
    """In one week there is at most one alert and one retraction, whatever the verdicts are."""
    kept, _ = advance_all(weekly(*past))
    conclusions = [ConclusionOfWeek(state, len(past) + 1, finalized=settled) for state, settled in week]
    _, signals = advance_all(conclusions, kept)
    assert signals.count(AlertSignal.ALERT) <= 1
    assert signals.count(AlertSignal.NAMED) <= 1
    assert signals.count(AlertSignal.RETRACTED) + signals.count(AlertSignal.RECOVERED) <= 1
    assert signals.count(AlertSignal.PROBE) <= 1


@given(st.lists(STATES, max_size=8), st.lists(STATES, max_size=6), st.lists(STATES, max_size=6), STATES)
def test_the_order_of_arrival_leaves_no_trace(
    past: list[State], one: list[State], other: list[State], settled: State
) -> None:
    """After a finalized (complete) week, the memory of alerts does not depend on the order in which scores arrived."""
    kept, _ = advance_all(weekly(*past))
    week, last = len(past) + 1, ConclusionOfWeek(settled, len(past) + 1, finalized=True)
    first, _ = advance_all([*(ConclusionOfWeek(state, week) for state in one), last], kept)
    second, _ = advance_all([*(ConclusionOfWeek(state, week) for state in other), last], kept)
    assert first.now == second.now


@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_alternating_around_the_threshold_is_one_alert(flips: list[bool]) -> None:
    """If the statistic falls below the alert threshold and rises again, the alert stays the same.

    It can end only when the statistic is below the lower threshold, at which a watch (an early sign) begins.
    """
    _, signals = advance_all(weekly(*(NOT if flip else BETWEEN for flip in flips)))
    assert signals.count(AlertSignal.ALERT) == int(any(flips))
    assert signals.count(AlertSignal.RETRACTED) == signals.count(AlertSignal.RECOVERED) == 0


@given(st.lists(STATES, min_size=1, max_size=12))
def test_judging_twice_changes_nothing(states: list[State]) -> None:
    """If a verdict is applied a second time, it gives no alert signal and does not change the memory of alerts."""
    kept, _ = advance_all(weekly(*states))
    repeated, signals = advance(kept, weekly(*states)[-1])
    assert signals == ()
    assert repeated == kept


@given(st.lists(STATES, max_size=30))
def test_every_alert_is_closed_before_another_is_opened(states: list[State]) -> None:
    """Each alert is opened, called "not responding" at most once, and closed before another one is opened."""
    is_open = named = False
    for signal in advance_all(weekly(*states))[1]:
        if signal is AlertSignal.ALERT:
            assert not is_open
            is_open, named = True, False
        elif signal is AlertSignal.NAMED:
            assert is_open
            assert not named
            named = True
        elif signal in (AlertSignal.RECOVERED, AlertSignal.RETRACTED):
            assert is_open
            is_open = False

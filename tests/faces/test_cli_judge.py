"""Tests `aimline judge`: it reads series, writes verdicts, reports invalid lines, and uses no database."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from app.cli import command_line
from app.cli.judge import judge_stream
from app.response.rules.choose import FITTING, RULES
from app.response.rules.offline.judge import Options
from bench.response.classic import RULES as BEYOND
from bench.response.monitor import run_monitor
from bench.response.world import World, Year, simulate


def line(**changes: object) -> dict[str, Any]:
    flat = [{"week": week, "value": 33.0 + week % 2, "form": f"w{week}"} for week in range(1, 13)]
    return {"id": "s1", "baseline": [31, 35, 33], "scores": flat, "goal_rate": 1.5, "sem": 4.0} | changes


def run(lines: Iterable[Any], *options: str) -> tuple[Result, list[dict[str, Any]]]:
    text = b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in lines)
    result = CliRunner().invoke(command_line("judge"), ["judge", *options], input=text)
    return result, [orjson.loads(one) for one in result.stdout.splitlines()]


def year_lines(year: Year) -> Iterator[dict[str, Any]]:
    """Yields a simulated population as lines of JSON."""
    for n, (baseline, scores, cohort) in enumerate(zip(year.baseline, year.scores, year.cohort, strict=True)):
        given = [{"week": w + 1, "value": float(y), "form": f"w{w}"} for w, y in enumerate(scores) if y == y]
        yield {
            "id": f"s{n}",
            "cohort": f"c{cohort}",
            "baseline": baseline.tolist(),
            "scores": given,
            "goal_rate": year.world.goal_rate,
            "sem": year.world.stated_sem,
        }


def judged(lines: Iterable[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    out = io.BytesIO()
    assert judge_stream(io.BytesIO(b"\n".join(map(orjson.dumps, lines))), out, options)
    return [orjson.loads(one) for one in out.getvalue().splitlines()]


def test_every_rule_can_be_chosen() -> None:
    """The help of `aimline judge` lists each rule and says when it flags a series."""
    assert all(rule.description.endswith(".") for rule in RULES.values())
    assert set(RULES) == FITTING["growth"] | FITTING["count"] | FITTING["criterion"]


@pytest.mark.parametrize("rule", list(RULES))
def test_a_flat_series_is_not_responding_by_every_rule_and_the_shape_is_as_stated(rule: str) -> None:
    result, (answer,) = run([line()], "--rule", rule)
    assert result.exit_code == 0
    assert (answer["id"], answer["week"], answer["state"], answer["kind"]) == ("s1", 12, "not_responding", "never")
    assert {"statistic", "threshold", "rate", "rate_low", "rate_high", "change_week", "because"} < set(answer)
    if RULES[rule].thresholds is None:
        return
    stated, (at_rate,) = run([line()], "--rule", rule, "--far", "0.10")
    assert stated.exit_code == 0
    assert at_rate["state"] in ("not_responding", "responding")


@pytest.mark.parametrize("rule", sorted(FITTING["count"]))
def test_a_line_with_a_goal_is_judged_by_level(rule: str) -> None:
    """A line with a goal instead of a goal rate is judged by the level of the scores.

    No slope is computed, and a false-alarm rate is refused.
    """
    values = [90, 90, 85, 90, 23, 28, 6]
    scores = [{"week": week, "value": value} for week, value in enumerate(values, start=1)]
    given = {"id": "p1", "baseline": [20, 25, 20], "goal": 80, "scores": scores}
    result, (answer,) = run([given], "--rule", rule)
    assert result.exit_code == 0
    assert (answer["state"], answer["kind"], answer["change_week"]) == ("not_responding", "stopped", 4)
    assert answer["rate"] is None
    assert run([given], "--rule", rule, "--far", "0.1")[0].exit_code == 2
    for wrong in ({"goal_rate": 2}, {"goal": 10}, {"goal": 20}, {"goal_week": "x"}, {"goal": "x"}):
        assert run([given | wrong], "--rule", rule)[0].exit_code == 3, wrong


def test_bad_lines_are_named_without_their_values_and_the_good_ones_are_judged() -> None:
    bad = [
        b"not json",
        line(scores=[{"week": 1, "value": "1234.5"}]),
        line(sem=-4321.0),
        line(goal_rate=0),
        line(scores=[{"week": -2, "value": 30}]),
        line(scores=[{"week": 2, "value": 30, "form": "a"}, {"week": 2, "value": 31, "form": "a"}]),
        line(planned_minutes=90),
        line(baseline=[]),
        line(id=""),
        [],
    ]
    result, answers = run([line(), *bad, line(id="s2")])
    assert result.exit_code == 3
    assert [answer["id"] for answer in answers] == ["s1", "s2"]
    assert [one.split(":")[0] for one in result.stderr.splitlines()] == [f"line {n}" for n in range(2, 12)]
    assert "1234" not in result.stderr
    assert "4321" not in result.stderr


def test_lines_of_one_cohort_that_stand_apart_are_refused() -> None:
    lines = [line(cohort="a"), line(cohort="b"), line(cohort="a", id="s2"), line(cohort="b")]
    result, answers = run(lines)
    assert (result.exit_code, len(answers)) == (3, 2)
    assert "of one cohort together" in result.stderr


def test_a_line_without_a_cohort_is_answered_before_the_next_is_read() -> None:
    """A line without a cohort is judged and answered before the next line is read.

    Lines of the same cohort are judged and answered together.
    """
    out = io.BytesIO()
    seen: list[int] = []

    def source() -> Iterator[bytes]:
        for one in (line(), line(id="s2"), line(id="s3", cohort="c"), line(id="s4", cohort="c"), line(id="s5")):
            seen.append(len(out.getvalue().splitlines()))
            yield orjson.dumps(one)

    assert judge_stream(source(), out, Options())
    assert seen == [0, 1, 2, 2, 2]
    assert [orjson.loads(one)["id"] for one in out.getvalue().splitlines()] == ["s1", "s2", "s3", "s4", "s5"]


def test_a_byte_order_mark_and_line_ends_of_another_system_are_no_fault() -> None:
    text = b"\xef\xbb\xbf" + orjson.dumps(line()) + b"\r\n\r\n" + orjson.dumps(line(id="s2")) + b"\r\n"
    out = io.BytesIO()
    assert judge_stream(io.BytesIO(text), out, Options())
    assert len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"sem": 1e-300},
        {"sem": 1e9},
        {"goal_rate": 1e-300, "baseline": [0]},
        {"goal_rate": 1e10},
        {"scores": [{"week": 1, "value": 1e11}]},
    ],
)
def test_an_error_out_of_all_proportion_is_refused(changes: dict[str, Any]) -> None:
    """`aimline judge` refuses values that are very large in proportion to the standard error, because floats would
    overflow.
    """
    result, answers = run([line(**changes), line()])
    assert (result.exit_code, len(answers)) == (3, 1)
    assert "out of all proportion" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("rule", list(RULES))
def test_nothing_is_said_of_a_phase_without_a_week_behind_it(rule: str) -> None:
    """A series gets no verdict in its first week, even if it has many scores."""
    first = [{"week": 0, "value": 30.0 + n} for n in range(9)]
    for given, options in (([], ()), ([{"week": 9, "value": 36.0}], ("--every-week",))):
        _, answers = run([line(scores=first + given)], "--rule", rule, *options)
        assert {answer["state"] for answer in answers if answer["week"] < 9} == {"insufficient_data"}


@pytest.mark.parametrize("rule", [name for name in RULES if name != "monitor"])
def test_only_the_monitor_asks_for_more_than_a_score_a_week(rule: str) -> None:
    """With any rule other than the monitor, `aimline judge` requests one score a week."""
    for options in ((),) if RULES[rule].thresholds is None else ((), ("--far", "0.10")):
        answers = run([line()], "--rule", rule, "--adaptive", "--every-week", *options)[1]
        assert {answer["probe"] for answer in answers} == {1}


@pytest.mark.parametrize("far", ["0.009", "0.51", "nan"])
def test_a_rate_that_was_not_measured_is_refused(far: str) -> None:
    result, answers = run([line()], "--far", far)
    assert (result.exit_code, answers) == (2, [])


def test_no_sem_is_insufficient_data_with_the_reason() -> None:
    _, (answer,) = run([line(sem=None)])
    assert (answer["state"], answer["reasons"][0]["code"]) == ("insufficient_data", "no_sem")


def test_a_support_that_was_not_delivered_is_not_blamed_on_the_student() -> None:
    short = line(planned_minutes=[90] * 12, delivered_minutes=[30] * 12)
    assert run([short])[1][0]["state"] == "under_delivered"
    assert {a["state"] for a in run([short], "--every-week")[1]} >= {"under_delivered"}
    whole, alone = line(planned_minutes=1000, delivered_minutes=500), ("--every-week",)
    assert run([whole])[1][0]["state"] == "under_delivered"
    assert run([whole], *alone)[0].exit_code == 3


@pytest.mark.parametrize("rule", ["monitor", "four-point", "trend"])
def test_a_student_on_the_goal_is_under_no_alarm(rule: str) -> None:
    """A student who rose to the goal and stays there has met it, week by week, whatever growth is now.

    `aimline judge` once labelled such a student "Stopped responding", where the server reported that the goal was met.
    """
    values = [36, 44, 52, 60, 61, 61, 60, 61, 60, 61, 60, 61, 60, 61, 61, 60]
    scores = [{"week": week, "value": value} for week, value in enumerate(values, 1)]
    given = {"id": "s1", "baseline": [30], "goal": 60, "goal_week": 20, "sem": 3, "scores": scores}
    answers = judged([given], Options(rule=rule, every_week=True))
    assert {answer["state"] for answer in answers if answer["week"] >= 8} == {"goal_met"}
    last = answers[-1]
    assert (last["kind"], last["label"], last["change_week"]) == (None, "Goal met", None)
    assert last["slow"] > 0.5
    assert "meets the goal of 60; given these scores, growth is now under half of the 1.5" in last["because"]


def test_down_is_better_is_the_mirror_image() -> None:
    down = [{"week": s["week"], "value": -s["value"]} for s in line()["scores"]]
    _, (up,) = run([line()])
    _, (mirrored,) = run([line(scores=down, baseline=[-31, -35, -33], direction="down", goal_rate=-1.5)])
    assert (mirrored["state"], mirrored["statistic"]) == (up["state"], up["statistic"])
    assert mirrored["rate"] == -up["rate"]


def test_a_week_is_judged_by_what_was_known_up_to_it() -> None:
    """A verdict for one of the first ten weeks is the same whether or not later scores exist."""
    lines = list(year_lines(simulate(World(), 50, 3)))
    early = [one | {"scores": [s for s in one["scores"] if s["week"] <= 10]} for one in lines]
    options = Options(every_week=True)
    whole = {(a["id"], a["week"]): a for a in judged(lines, options)}
    for answer in judged(early, options):
        assert whole[(answer["id"], answer["week"])] == answer


def test_every_week_is_what_the_benchmark_scores() -> None:
    """For every student and week, `aimline judge` gives the same statistic as the monitor in the benchmark."""
    year = simulate(World(), 75, 4)
    watched = run_monitor(year).statistic
    answers = judged(year_lines(year), Options(every_week=True))
    assert len(answers) > 75 * 20
    for answer in answers:
        if answer["statistic"] is not None:
            expected = watched[int(answer["id"][1:]), answer["week"] - 1]
            assert answer["statistic"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rule", list(BEYOND))
def test_the_fields_rules_are_what_the_benchmark_scores(rule: str) -> None:
    """For each decision rule that schools use, `aimline judge` gives the same statistic as the benchmark.

    Each rule is used at a stated false-alarm rate.
    """
    year = simulate(World(), 25, 6)
    with np.errstate(all="ignore"):  # where there is no score yet, the benchmark divides by nothing
        beyond = BEYOND[rule](year)
    lines = [one | {"goal_week": 26} for one in year_lines(year)]
    checked = 0
    for answer in judged(lines, Options(rule=rule, far=0.10, every_week=True)):
        student, week = int(answer["id"][1:]), answer["week"]
        seen = [s["week"] for s in lines[student]["scores"] if s["week"] <= week]
        if answer["statistic"] is not None and seen[-1] == week:
            assert answer["statistic"] == pytest.approx(beyond[student, week - 1], abs=1e-4)
            checked += 1
    assert checked > 300


def test_adaptive_asks_for_no_more_than_three_scores() -> None:
    answers = judged(year_lines(simulate(World(), 25, 5)), Options(every_week=True, adaptive=True))
    assert {answer["probe"] for answer in answers} <= {0, 1, 2, 3}


def test_calibrating_on_the_lines_themselves_says_on_how_much_and_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that reads a stored calibration file prints the same bytes as the run that wrote the file. A file of
    another kind is refused.
    """
    monkeypatch.setattr("app.response.rules.calibrate.district.IMAGINED", 1500)
    kept = tmp_path / "own.json"
    lines = list(year_lines(simulate(World(noise=10.0, weeks=16), 350, 5)))
    made, first = run(lines, "--calibrate", "--calibration", str(kept))
    assert made.exit_code == 0
    assert "Calibrated on 350 series" in made.stderr
    again, second = run(lines, "--calibration", str(kept))
    assert (again.exit_code, second) == (0, first)
    _, plain = run(lines)
    assert plain != first
    assert run(lines, "--calibration", __file__)[0].exit_code == 2


def test_too_few_series_keep_the_published_defaults() -> None:
    lines = list(year_lines(simulate(World(), 25, 5)))
    made, first = run(lines, "--calibrate")
    assert "the published defaults are used" in made.stderr
    assert first == run(lines)[1]

"""Tests how the growth rate that a goal requires is compared with published norms."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from app.core.errors import Invalid
from app.playbook.benchmarks.rules import BenchmarkFigures, normal_grade, realistic_growth, violations_of_figures
from app.playbook.defaults import published_benchmarks
from app.support.changes.rates import RateCheck, RequiredRate, check_rate


@dataclass(frozen=True)
class Norm:
    """Stands for a row of the table of benchmarks, with only the columns that the calculation of rates reads."""

    grade: str
    typical_growth: float | None = None
    realistic_growth: float | None = None
    published: bool = True
    citation: str = "A study"
    id: UUID = field(default_factory=lambda: UUID(int=1))


def required(baseline: float, goal: float, weeks: int, realistic: float | None, direction: str = "up") -> RequiredRate:
    """Returns the rate of growth that a goal requires, for a measure with values from 0 to 300."""
    return RequiredRate(direction, 0.0, 300.0, "words", baseline, goal, weeks, realistic, "A study")


PUBLISHED = {"01": 2.0, "02": 1.6, "03": 1.0, "04": 1.2, "05": 0.8, "06": 0.3}


@pytest.mark.parametrize(("grade", "rate"), PUBLISHED.items())
def test_the_published_norms_state_a_realistic_growth_for_each_grade(grade: str, rate: float) -> None:
    """For each grade, the highest growth that counts as realistic is the rate in the published norms."""
    norms = [
        Norm(each.grade, each.typical_growth, each.realistic_growth, citation=each.citation)
        for each in published_benchmarks()
    ]
    realistic = realistic_growth(norms, [grade])
    assert realistic is not None
    assert realistic.rate == rate


def test_a_districts_own_norm_takes_precedence_and_grades_are_compared_by_their_number() -> None:
    """A district's own norm applies even if the published one is higher, and the grades `3` and `03` are the same."""
    norms = [Norm("03", realistic_growth=1.0), Norm("3", typical_growth=0.7, published=False)]
    own = realistic_growth(norms, ["03"])
    assert own is not None
    assert own.rate == 0.7
    assert realistic_growth(norms, ["07"]) is None
    assert realistic_growth(norms, []) is None
    assert [normal_grade(each) for each in ("03", " 3", "kg", "00")] == ["3", "3", "KG", "00"]


def test_a_rate_above_the_norms_is_refused_with_a_goal_that_is_not() -> None:
    """A goal that requires more growth than the norms call realistic is refused, unless it is confirmed.

    The error has both rates, and proposes a goal that is accepted.
    """
    rate_check = required(47.0, 70.0, 10, 1.0)
    with pytest.raises(Invalid) as refused:
        check_rate(rate_check, confirmed=False)
    (violation,) = refused.value.violations
    assert (refused.value.code, violation.code, violation.pointer) == ("goal.unrealistic", "goal.unrealistic", "/goal")
    assert dict(violation.figures) == {
        "required_rate": 2.3,
        "realistic_rate": 1.0,
        "proposed_goal": 57.0,
        "weeks": 10.0,
        "weeks_needed": 23.0,
    }
    assert "2.30 words" in refused.value.detail
    assert check_rate(rate_check, confirmed=True) is RateCheck.CONFIRMED
    assert check_rate(required(47.0, 57.0, 10, 1.0), confirmed=False) is RateCheck.REALISTIC
    assert check_rate(required(47.0, 70.0, 23, 1.0), confirmed=False) is RateCheck.REALISTIC
    assert check_rate(required(47.0, 270.0, 10, None), confirmed=False) is RateCheck.NO_NORM


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("weeks", [1, 7, 26])
@pytest.mark.parametrize("realistic", [0.02, 0.3, 1.5])
def test_the_proposed_goal_is_realistic_itself(direction: str, weeks: int, realistic: float) -> None:
    """The goal that is proposed in place of an unrealistic one counts as realistic.

    This holds in both directions and for small rates, so a client can send the proposed goal without a refusal.
    """
    baseline = 100.5
    goal = 300.0 if direction == "up" else 0.0
    rate_check = required(baseline, goal, weeks, realistic, direction)
    proposed = required(baseline, rate_check.proposed_goal, weeks, realistic, direction)
    assert not rate_check.is_realistic
    assert proposed.is_realistic
    assert proposed.sign * proposed.rate > 0


def test_figures_that_contradict_each_other_are_refused() -> None:
    """Norms are refused if they contradict each other.

    For example, percentiles are in the wrong order, or the risk cut is above the benchmark goal.
    """

    def codes(direction: str = "up", **figures: float) -> list[str]:
        checked = BenchmarkFigures(dict(figures), 0.0, 300.0, direction)
        return [each.code for each in violations_of_figures(checked, "/benchmarks/0")]

    assert codes() == ["benchmark.empty"]
    assert codes(p10=40.0, p90=134.0, benchmark_goal=73.0, risk_cut=55.0, realistic_growth=1.0) == []
    assert codes(p10=134.0, p90=40.0) == ["benchmark.percentiles"]
    assert codes("down", p10=134.0, p90=40.0) == []
    assert codes(benchmark_goal=55.0, risk_cut=73.0) == ["benchmark.risk_cut"]
    assert codes(p50=301.0, typical_growth=0.0) == ["benchmark.value", "benchmark.growth"]

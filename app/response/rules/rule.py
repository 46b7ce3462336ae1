"""Defines what a decision rule declares, and applies the steps that all rules have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.response.rules.completion import complete
from app.response.rules.delivery import allow_for_delivery, note_adherence
from app.response.rules.field import trend
from app.response.rules.monitor import rule as monitor
from app.response.rules.monitor.rates import GRID, between
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, Reason, Shares, State, Verdict
from app.response.rules.wording import count, remove_unjustified_name, scores, weeks

# A lack of scores must never delay help or a referral.
AT_ANY_TIME = "a decision or a referral can be made without it at any time."


class UnusableRule(ValueError):
    """Raised for an unknown rule, or for parameters that the rule does not accept.

    `code` is for programs, `sentence` is for people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a rule that a district may set: a whole number from `lowest` to `highest`."""

    name: str
    default: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """A decision rule, with everything that the product states about it.

    * `description` says in a sentence when the rule flags a series.
    * `parameter` is the main parameter. Its value is also the minimum number of scores that the rule needs.
    * `version` must change whenever the verdicts of the rule change. Under one version, the same series always gets the
      same verdict.
    * `fits` has the kinds of measures that the rule may judge.
    * `far` is the false-alarm rate with the default parameters: the share of the benchmark's responders whom the rule
      flags at some time. Responders are simulated students who grow as the goal requires. `far` is None if the rate is
      not stated, or if the parameter `far_percent` sets it.
    * `holds_badly` has the cases in which the stated rate does not hold, or is not known to hold.
    * `excess` is a function, or None if a rule has none. Its arguments are a series, the series' finding and the
      measure's standard error of measurement (SEM). It returns by how much the series fails the rule: more than 0 if
      the rule flags the series.
    * `thresholds` has a number for each false-alarm rate in `GRID`, such as 5 % or 10 %. To have this rate, the rule
      must flag a series if the result of `excess` is above this number. For the monitor, which has no `excess`, the
      number is compared with its statistic.
    * `window` is the number of last scores from which alone the rule concludes that there is no alarm, or the name of
      the parameter with this number. It is None for a rule that judges all scores together.
    """

    name: str
    version: int
    description: str
    parameter: Parameter
    find: Callable[[Series, Mapping[str, int]], Finding]
    least_weeks: int = 1
    more: tuple[Parameter, ...] = ()
    fits: frozenset[str] = frozenset({"growth"})
    far: float | None = None
    holds_badly: str = "measured in one simulated year only; in others it was not"
    excess: Callable[[Series, Finding, float], float] | None = None
    thresholds: tuple[float, ...] | None = None
    window: int | str | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.parameter, *self.more)

    @property
    def defaults(self) -> dict[str, int]:
        return {parameter.name: parameter.default for parameter in self.parameters}

    def resolve_parameters(self, parameters: Mapping[str, int] | None = None) -> dict[str, int]:
        """Returns the values of all parameters: the given values, and the defaults for all other parameters.

        Raises UnusableRule: `unknown_parameter`, `parameter_out_of_range`.
        """
        given, resolved = dict(parameters or {}), {}
        for parameter in self.parameters:
            value = given.pop(parameter.name, parameter.default)
            if type(value) is not int or not parameter.lowest <= value <= parameter.highest:
                raise UnusableRule(
                    "parameter_out_of_range",
                    f"Give {parameter.name} of the rule {self.name} as a whole number "
                    f"from {parameter.lowest} to {parameter.highest}.",
                )
            resolved[parameter.name] = value
        if given:
            raise UnusableRule(
                "unknown_parameter", f"The rule {self.name} takes only {' and '.join(self.defaults)} as parameters."
            )
        return resolved

    def finding(self, series: Series, resolved: Mapping[str, int]) -> Finding:
        """Returns what the rule concludes from the scores alone. Does not check whether the goal is already met."""
        return _too_little(self, series, resolved) or self.find(series, resolved)

    def judge(
        self, series: Series, parameters: Mapping[str, int] | None = None, shares: Shares | None = None
    ) -> Verdict:
        """Returns the rule's verdict. Raises UnjudgeableSeries and UnusableRule.

        `shares` are the probabilities of slow, short and sufficient growth. If they are None, they are estimated from
        this series alone.
        """
        resolved = self.resolve_parameters(parameters)
        series.check()
        finding = self.finding(series, resolved)
        if shares is None:
            shares = finding.shares or (monitor.shares_of(series) if self.judges_growth else None)
        return self.verdict(series, resolved, finding, shares)

    def calm_weeks(self, resolved: Mapping[str, int]) -> int:
        """Returns how many weeks in a row must be without an alarm before an alert of this rule ends.

        Two weeks are enough for a rule that judges all scores together. If a rule judges only the last scores, one
        high score is among them in several weeks. So the first and the last of the weeks must have no score in common,
        if there is a score in each week.
        """
        window = resolved[self.window] if isinstance(self.window, str) else self.window
        return 2 if window is None else window + 1

    def stated_far(self, resolved: Mapping[str, int]) -> float | None:
        """Returns the false-alarm rate that is stated for these parameters, or None if the rate was not measured."""
        if "far_percent" in resolved:
            return resolved["far_percent"] / 100
        return self.far if dict(resolved) == self.defaults else None

    def threshold_at(self, far: float) -> float:
        """Returns the threshold for the false-alarm rate `far`. Raises KeyError if the rule has no table of thresholds.

        The rate is measured on simulated students who grow exactly as the goal requires. It is the share of these
        students who are above the threshold at least once within 26 weeks.
        """
        if self.thresholds is None:
            raise KeyError(self.name)
        return between(GRID, self.thresholds, far)

    @property
    def judges_growth(self) -> bool:
        """Returns whether the rule judges how fast the scores grow."""
        return "growth" in self.fits

    def verdict(
        self, series: Series, resolved: Mapping[str, int], finding: Finding, shares: Shares | None = None
    ) -> Verdict:
        """Returns the verdict for a finding of this rule.

        `shares` are the probabilities of slow, short and sufficient growth. The finding and these probabilities come
        from this series alone, or from judging the series together with the student's cohort.
        """
        finding = _too_little(self, series, resolved) or finding
        if self.name != "monitor":  # The monitor takes the delivery into account itself.
            finding = allow_for_delivery(
                series, finding, lambda credited: self.finding(credited, resolved), self.judges_growth
            )
        finding = note_adherence(series, complete(series, finding, shares))
        if self.judges_growth:
            finding = remove_unjustified_name(finding, shares)
        has_slope = self.judges_growth and len(series.observations) >= LEVEL_SCORES
        return Verdict(
            state=finding.state,
            kind=finding.kind,
            because=finding.because,
            sentence=finding.sentence,
            statistic=finding.statistic,
            threshold=finding.threshold,
            rate=trend.slope(series.weeks, series.values) if has_slope and finding.rate is None else finding.rate,
            rate_low=finding.rate_low,
            rate_high=finding.rate_high,
            odds=finding.odds,
            slow=shares.slow if shares else None,
            short=shares.short if shares else None,
            on_pace=shares.on_pace if shares else None,
            stated_far=self.stated_far(resolved),
            required_rate=series.goal_rate,
            change_week=finding.change_week,
            rule=self.name,
            rule_version=self.version,
            parameters=dict(resolved),
            scores=series.score_ids,
        )


def _too_little(rule: DecisionRule, series: Series, parameters: Mapping[str, int]) -> Finding | None:
    """Returns the finding `insufficient_data` if there are too few scores or weeks, otherwise None.

    The finding states how many scores or weeks are missing.
    """
    least, number_of_scores = parameters[rule.parameter.name], len(series.observations)
    if number_of_scores < least:
        reason = Reason(
            "too_few_scores", {"scores": number_of_scores, "needed": least, "missing": least - number_of_scores}
        )
        sentence = (
            f"This phase has {scores(number_of_scores)} so far and this rule needs {count(least)} "
            f"({count(least - number_of_scores)} more); {AT_ANY_TIME}"
        )
        return Finding(State.INSUFFICIENT_DATA, (reason,), sentence)
    number_of_weeks = len(set(series.weeks))
    if number_of_weeks < rule.least_weeks:
        numbers: dict[str, float] = {
            "weeks": number_of_weeks,
            "needed": rule.least_weeks,
            "missing": rule.least_weeks - number_of_weeks,
        }
        sentence = (
            f"All {scores(number_of_scores)} are from {weeks(series.weeks)} and this rule needs "
            f"{count(rule.least_weeks)} different weeks; {AT_ANY_TIME}"
        )
        return Finding(State.INSUFFICIENT_DATA, (Reason("too_few_weeks", numbers),), sentence)
    if number_of_scores and series.weeks[-1] < parameters.get("from_week", 0):
        first = parameters["from_week"]
        numbers_of_week: dict[str, float] = {"last_week": series.weeks[-1], "from_week": first}
        sentence = f"This rule judges from week {first} on, and the last score is from {weeks(series.weeks[-1:])}; "
        return Finding(State.INSUFFICIENT_DATA, (Reason("too_early", numbers_of_week),), sentence + AT_ANY_TIME)
    return None

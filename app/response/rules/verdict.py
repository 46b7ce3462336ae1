"""Defines the results of a rule: states, reasons, and the verdict with its serialization. Computes no state."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any
from uuid import UUID

DECIMALS = 6

OPTIONAL_FIELDS = ("rate_low", "rate_high", "odds", "slow", "short", "on_pace", "stated_far")
"""The fields of a verdict that only some rules fill."""


class State(StrEnum):
    """The state that a rule gives a series.

    * `responding`: the rule raises no alarm. How likely it is that growth keeps pace is stated by `Shares.on_pace`.
    * `off_track` is an alarm: at the present rate the goal will be missed.
    * `not_responding` is the more serious alarm: growth is probably under half of the required rate.
    * `under_delivered`: there would be an alarm, but the sessions that were not delivered explain the lack of growth.
    * Of the rules for growth, only the monitor gives `below_pace` and `uncertain`.
    """

    INSUFFICIENT_DATA = "insufficient_data"
    RESPONDING = "responding"
    BELOW_PACE = "below_pace"
    GOAL_MET = "goal_met"
    UNCERTAIN = "uncertain"
    OFF_TRACK = "off_track"
    NOT_RESPONDING = "not_responding"
    UNDER_DELIVERED = "under_delivered"


class NonresponseKind(StrEnum):
    """A way in which a student does not respond: growth never kept pace, or it kept pace and then stopped."""

    NEVER = "never"
    STOPPED = "stopped"


ALARMS = frozenset({State.OFF_TRACK, State.NOT_RESPONDING})
"""The states that are an alarm, with or without the name "not responding"."""


MOST_SERIOUS_FIRST = (
    State.NOT_RESPONDING,
    State.OFF_TRACK,
    State.UNDER_DELIVERED,
    State.BELOW_PACE,
    State.UNCERTAIN,
    State.INSUFFICIENT_DATA,
    State.RESPONDING,
    State.GOAL_MET,
)
"""The states, the most serious first. A support has the most serious of the states of its measures."""


def rounded(number: float) -> float:
    """Returns the number, rounded to the precision of all verdicts, so that equal input gives equal bytes.

    Minus zero becomes zero.
    """
    return number if isinstance(number, int) else round(number, DECIMALS) + 0.0


def maybe_rounded(number: float | None) -> float | None:
    return None if number is None else rounded(number)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a verdict: a stable code, and the rounded numbers on which the reason is based."""

    code: str
    values: dict[str, float]

    def __post_init__(self) -> None:
        values = {name: rounded(number) for name, number in sorted(self.values.items())}
        object.__setattr__(self, "values", values)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "values": dict(self.values)}


@dataclass(frozen=True, slots=True)
class Shares:
    """The calibrated probabilities of three ranges of a student's present growth. They add up to 1.

    * slow: under half of the required rate.
    * short: half of the required rate or more, but less than the required rate.
    * on_pace: the required rate or more.
    """

    slow: float
    short: float
    on_pace: float

    @classmethod
    def below(cls, slow: float, under: float) -> Shares:
        """Returns the probabilities of slow, short and sufficient growth, given two cumulative probabilities.

        * `slow` is the probability that growth is under half of the required rate.
        * `under` is the probability that growth is under the required rate.
        """
        slow, under = rounded(slow), rounded(under)
        return cls(slow, rounded(under - slow), rounded(1 - under))

    @property
    def each(self) -> tuple[float, float, float]:
        """Returns the three probabilities, in the order of the fields."""
        return self.slow, self.short, self.on_pace


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule concludes from the scores alone. The fields are those of `Verdict`.

    `DecisionRule.verdict` turns a finding into a verdict. The verdict may have another state than the finding, for
    example because the goal is already met.
    """

    state: State
    because: tuple[Reason, ...]
    sentence: str
    statistic: float | None = None
    threshold: float | None = None
    kind: NonresponseKind | None = None
    change_week: int | None = None
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    odds: float | None = None
    shares: Shares | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a rule on a series, with everything that it depends on.

    * `kind` is set only with `not_responding`; `sentence` is one sentence for a teacher, made from the numbers.
    * `statistic` and `threshold` are the numbers that the rule compared, even if a later step has changed the state.
      They are None while there are too few scores.
    * `rate` is the monitor's estimate of the present rate; for any other rule, it is the least-squares slope. It is
      None if there are fewer than three scores, if all scores are from one week, and for a rule about counts,
      percentages or criteria. `rate` and `required_rate` are in the measure's units a week.
    * `change_week` is the number of the instructional week of the series around which growth slowed.
    * `rate_low` and `rate_high` are the bounds of the middle 80 % of the present rate. `odds` are the odds of slow
      growth against growth that keeps pace. The JSON leaves out all three if the rule does not estimate them.
    * `slow`, `short` and `on_pace` are the probabilities that `Shares` defines. Every rule for growth states them if
      the measure has a standard error of measurement (SEM) and there are at least three scores. Otherwise the JSON
      leaves them out.
    * `stated_far` is the stated false-alarm rate, which was measured on the benchmark's responding students. It is the
      share of these students whom the rule with these parameters flags at some time in 26 weeks. The JSON leaves the
      rate out if it was not measured; docs/response.md says where the rate does not hold.
    * `parameters` are all of the rule's parameters, with defaults. `scores` are the ids of the phase's scores in order.
    """

    state: State
    kind: NonresponseKind | None
    because: tuple[Reason, ...]
    sentence: str
    statistic: float | None
    threshold: float | None
    rate: float | None
    required_rate: float
    change_week: int | None
    rule: str
    rule_version: int
    parameters: dict[str, int]
    scores: tuple[UUID | str, ...]
    rate_low: float | None = None
    rate_high: float | None = None
    odds: float | None = None
    slow: float | None = None
    short: float | None = None
    on_pace: float | None = None
    stated_far: float | None = None

    def __post_init__(self) -> None:
        if (self.kind is None) == (self.state is State.NOT_RESPONDING):
            raise ValueError("A kind goes with not_responding, and with nothing else.")
        for name in ("statistic", "threshold", "rate", "required_rate", *OPTIONAL_FIELDS):
            object.__setattr__(self, name, maybe_rounded(getattr(self, name)))

    def as_json(self) -> dict[str, Any]:
        """Returns a JSON-ready dict with its keys in the order of the fields."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in OPTIONAL_FIELDS:
            if shown[name] is None:
                del shown[name]
        return shown | {
            "state": self.state.value,
            "kind": self.kind.value if self.kind else None,
            "because": [reason.as_json() for reason in self.because],
            "parameters": dict(sorted(self.parameters.items())),
            "scores": [str(score) for score in self.scores],
        }

"""Owns what was estimated of a district's own series on one measure and grade. Never estimates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Self

from app.response.rules.monitor.model import DEFAULT, Prior
from app.response.rules.rates import GRID, THRESHOLDS, between
from app.response.rules.verdict import rounded


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the monitor believes of a measure and grade, and its thresholds at the stated rates of GRID.

    noise: the errors' SD in the measure's SEM. prior: rates in required rates g, the rest in the measure's SEM times
    `noise`. thresholds: log odds, falling. adaptive: the same where extra scores are given as asked for.
    series, scores: how many it was estimated from; 0 for the published defaults. estimates: what was found on the
    way, by name. observed: share of these series that passed the threshold for .10; expected: the share that the
    estimated model expects to. A district's true false-alarm rate cannot be known, and is not claimed.
    """

    noise: float = 1.0
    prior: Prior = DEFAULT
    thresholds: tuple[float, ...] = THRESHOLDS["monitor"]
    adaptive: tuple[float, ...] = THRESHOLDS["monitor, adaptive"]
    series: int = 0
    scores: int = 0
    estimates: tuple[tuple[str, float], ...] = ()
    observed: float | None = None
    expected: float | None = None

    def __post_init__(self) -> None:
        if self.noise <= 0 or any(high < low for high, low in pairwise(self.thresholds)):
            raise ValueError("A calibration has noise above zero, and thresholds that fall as the stated rate rises.")

    def threshold_at(self, far: float, *, adaptive: bool = False) -> float:
        """The log odds at which the stated share of responders is ever flagged in 26 weeks."""
        return between(GRID, self.adaptive if adaptive else self.thresholds, far)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready and rounded: the same estimates, the same bytes. What `from_json` reads."""
        said = asdict(self) | {"prior": {name: _round(value) for name, value in asdict(self.prior).items()}}
        said["estimates"] = {name: rounded(value) for name, value in self.estimates}
        return {name: _round(value) for name, value in said.items()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Reads what `as_json` wrote; fields that are left out have their published values. Raises ValueError."""
        known = {field.name for field in fields(cls)}
        if not isinstance(said, Mapping) or not set(said) <= known:
            raise ValueError(f"A calibration has no fields but {', '.join(sorted(known))}.")
        given = dict(said)
        prior: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.get("prior", {}).items()
        }
        given["prior"] = replace(DEFAULT, **prior)
        given["estimates"] = tuple(sorted(dict(given.get("estimates", {})).items()))
        for name in ("thresholds", "adaptive"):
            if name in given:
                given[name] = tuple(float(one) for one in given[name])
                if len(given[name]) != len(GRID):
                    raise ValueError(f"Give {len(GRID)} {name}, one for each stated rate.")
        return cls(**given)


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    return [_round(one) for one in value] if isinstance(value, tuple | list) else value


PUBLISHED = Calibration()
"""The defaults, of the simulated year of docs/response.md."""

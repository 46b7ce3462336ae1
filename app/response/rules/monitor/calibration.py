"""Owns what was estimated of a district's own series on one measure and grade. Never estimates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from app.response.rules.monitor.model import DEFAULT, Prior
from app.response.rules.rates import GRID, THRESHOLDS, between
from app.response.rules.verdict import rounded

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the monitor believes of a measure and grade, and its thresholds at the stated rates of GRID.

    noise: the errors' SD in the measure's SEM. prior: rates in required rates g, the rest in the measure's SEM times
    `noise`. thresholds: log odds, falling. adaptive: the same where extra scores are given as asked for.
    series, scores: how many it was estimated from; 0 for the published defaults. estimates: what was found on the
    way, by name. observed: share of these series that passed the threshold for .10; expected: the share that the
    estimated model expects to. A district's true false-alarm rate cannot be known, and is not claimed.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

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
        if not self.noise > 0:
            raise ValueError("A calibration has noise above zero.")
        for thresholds in (self.thresholds, self.adaptive):
            if len(thresholds) != len(GRID) or not all(high >= low for high, low in pairwise(thresholds)):
                raise ValueError(f"A calibration has {len(GRID)} thresholds, which fall as the stated rate rises.")

    def threshold_at(self, far: float, *, adaptive: bool = False) -> float:
        """The log odds at which the stated share of responders is ever flagged in 26 weeks."""
        return between(GRID, self.adaptive if adaptive else self.thresholds, far)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready and rounded: the same estimates, the same bytes. What `from_json` reads."""
        said = asdict(self) | {"prior": {name: _round(value) for name, value in asdict(self.prior).items()}}
        said["estimates"] = {name: rounded(value) for name, value in self.estimates}
        return {name: _round(value) for name, value in said.items()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Calibration:
        """Reads what `as_json` wrote; fields that are left out have their published values. Raises ValueError."""
        estimates = said.get("estimates", {}) if isinstance(said, Mapping) else None
        given = {**said, "estimates": sorted(estimates.items())} if isinstance(estimates, Mapping) else said
        # Where none is read, nobody waits for the library to load.
        from pydantic import ValidationError

        try:
            return _reader().validate_python(given)
        except ValidationError as wrong:
            raise ValueError("; ".join(map(_fault, wrong.errors()))) from None


def _fault(one: ErrorDetails) -> str:
    place, fault = ".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")
    return f"{place}: {fault}" if place else fault


@cache
def _reader() -> TypeAdapter[Calibration]:
    from pydantic import TypeAdapter

    return TypeAdapter(Calibration)


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    return [_round(one) for one in value] if isinstance(value, tuple | list) else value


PUBLISHED = Calibration()
"""The defaults, of the simulated year of docs/response.md."""

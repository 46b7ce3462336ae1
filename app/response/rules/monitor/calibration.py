"""Defines a calibration: the estimates for one measure and grade from a district's own series.

This module does not compute the estimates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from app.response.rules.monitor.model import DEFAULT, Prior
from app.response.rules.monitor.rates import ADAPTIVE, GRID, MONITOR, between
from app.response.rules.verdict import rounded

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Calibration:
    """The monitor's prior for one measure and grade, and its thresholds for the false-alarm rates in `GRID`.

    * `noise`: the standard deviation of a score's error, as a multiple of the measure's standard error of measurement
      (SEM).
    * `prior`: the assumptions about growth and noise. Its rates are multiples of the required rate g. Its `wobble` (the
      random weekly change of the true score) is in units of `noise` times the SEM.
    * `thresholds`: log odds in descending order, one for each rate in `GRID`. `adaptive`: the same for districts that
      collect extra scores on request.
    * `series`, `scores`: how many series and scores the estimates were made from; 0 for the published defaults.
    * `estimates`: intermediate estimates, keyed by name.
    * `observed`: the share of the district's series that passed the threshold for the rate .10. `expected`: the share
      that would pass this threshold according to the estimated model.

    No field states the district's true false-alarm rate, because it cannot be known.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    noise: float = 1.0
    prior: Prior = DEFAULT
    thresholds: tuple[float, ...] = MONITOR
    adaptive: tuple[float, ...] = ADAPTIVE
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
        """Returns the threshold, in log odds, for the false-alarm rate `far`.

        The rate is measured on simulated students who grow exactly as the goal requires. It is the share of these
        students who are above the threshold at least once within 26 weeks. With `adaptive`, returns the threshold for
        districts that collect extra scores on request.
        """
        return between(GRID, self.adaptive if adaptive else self.thresholds, far)

    def as_json(self) -> dict[str, Any]:
        """Returns the calibration as a JSON object with rounded values, which `from_json` reads.

        Because the values are rounded, equal estimates always give the same text.
        """
        values = asdict(self) | {"prior": {name: _round(value) for name, value in asdict(self.prior).items()}}
        values["estimates"] = {name: rounded(value) for name, value in self.estimates}
        return {name: _round(value) for name, value in values.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calibration:
        """Returns the calibration that `as_json` rendered. Missing fields get their published values.

        Raises ValueError if `stored` is not a valid calibration.
        """
        estimates = stored.get("estimates", {}) if isinstance(stored, Mapping) else None
        values = {**stored, "estimates": sorted(estimates.items())} if isinstance(estimates, Mapping) else stored
        # Imported here, so that a process that never reads a calibration does not load the library.
        from pydantic import ValidationError

        try:
            return _reader().validate_python(values)
        except ValidationError as error:
            raise ValueError("; ".join(map(_describe_error, error.errors()))) from None


def _describe_error(error: ErrorDetails) -> str:
    location, message = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    return f"{location}: {message}" if location else message


@cache
def _reader() -> TypeAdapter[Calibration]:
    from pydantic import TypeAdapter

    return TypeAdapter(Calibration)


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    return [_round(item) for item in value] if isinstance(value, tuple | list) else value


PUBLISHED = Calibration()
"""The published defaults. They come from the simulated year in docs/response.md."""

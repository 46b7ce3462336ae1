"""Owns what was delivered of a phase, as the rules ask for it: by instructional week, the unknown left out."""

from __future__ import annotations

from dataclasses import dataclass

from app.response.rules import series
from app.support.dosage import Dosage, DosageWeek


@dataclass(frozen=True, slots=True)
class Delivered(series.Dosage):
    """The dosage of a phase's weeks, each with its instructional week; the lesser share of sessions and minutes."""

    whole: Dosage | None = None
    by_number: tuple[tuple[int, DosageWeek], ...] = ()

    def share(self, after: int, upto: int) -> float | None:
        """Delivered over planned after one week up to another; from the phase's first day on where `after` is 0.

        None where under half of the planned sessions have a record: unknown is not missed.
        """
        if self.whole is None:
            return None
        first = after + 1 if after else 0
        weeks = tuple(week for number, week in self.by_number if first <= number <= upto)
        return Dosage(self.whole.since, self.whole.until, weeks).share

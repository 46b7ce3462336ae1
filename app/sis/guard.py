"""Owns whether a plan may be applied or is held for a person to look at. Pure: numbers in, sentences out.

A source that breaks looks like a district that empties. The limits stand between the two; each has a floor of rows,
so that a small district, and a first load, is not held for one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Shares of what is known (of what came, for refused rows) above which a plan is held, with their floors."""

    removed: float = 0.10
    removed_rows: int = 25
    changed: float = 0.75
    changed_rows: int = 25
    refused: float = 0.05
    refused_rows: int = 5
    lost: float = 0.50
    lost_of: int = 5
    rekeyed: float = 0.02
    rekeyed_people: int = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One kind: rows known before, rows that came (`came` when any file did), what would become of them.

    `may_be_silent` says that nothing need come: of a delta, and of a kind that a delivery may leave out.
    """

    plural: str
    known: int
    came: bool
    fetched: int
    changed: int
    removed: int
    refused: int
    may_be_silent: bool = False


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A school or class with `of` students before, `lost` of whom it would no longer have."""

    what: str
    lost: int
    of: int


def hold_because(
    kinds: Sequence[Seen], shrunk: Sequence[Shrunk], rekeyed: int, people: int, limits: Limits
) -> tuple[str, ...]:
    """Every reason to hold the plan, a sentence each; none when it may be applied.

    `rekeyed` are people who would be removed and come anew under another sourcedId, of `people` known before.
    """
    reasons: list[str] = []
    for kind in kinds:
        reasons += _of_kind(kind, limits)
    for what in ("school", "class"):
        found = [one for one in shrunk if one.what == what and _loses_half(one, limits)]
        if found:
            worst = max(found, key=lambda one: one.lost / one.of)
            many = f"{len(found):,} {'classes' if what == 'class' else 'schools'}" if len(found) > 1 else f"A {what}"
            reasons.append(
                f"{many} would lose over {limits.lost:.0%} of the students, the worst {worst.lost:,} of {worst.of:,}."
            )
    if _over(rekeyed, people, limits.rekeyed, limits.rekeyed_people):
        reasons.append(f"{rekeyed:,} of {people:,} people would come back under another sourcedId.")
    return tuple(reasons)


def _of_kind(kind: Seen, limits: Limits) -> list[str]:
    if kind.known and not (kind.came and kind.fetched) and not kind.may_be_silent:
        return [f"No {kind.plural} came, and {kind.known:,} are known."]
    reasons = []
    for count, share, floor, verb in (
        (kind.removed, limits.removed, limits.removed_rows, "removed"),
        (kind.changed, limits.changed, limits.changed_rows, "changed"),
    ):
        if _over(count, kind.known, share, floor):
            reasons.append(
                f"{count:,} of {kind.known:,} {kind.plural} ({count / kind.known:.0%}) would be {verb}; "
                f"the limit is {share:.0%}."
            )
    if _over(kind.refused, kind.fetched, limits.refused, limits.refused_rows):
        reasons.append(
            f"{kind.refused:,} of the {kind.fetched:,} rows of {kind.plural} ({kind.refused / kind.fetched:.0%}) "
            f"cannot be taken; the limit is {limits.refused:.0%}."
        )
    return reasons


def _loses_half(one: Shrunk, limits: Limits) -> bool:
    return one.of >= limits.lost_of and one.lost > limits.lost * one.of


def _over(count: int, of: int, share: float, floor: int) -> bool:
    return count > floor and of > 0 and count > share * of

"""Owns whether a plan may be applied or is held for a person to look at. Pure: numbers in, sentences out.

A source that breaks looks like a district that empties. The limits stand between the two; each has a floor of rows,
so that a small district, and a first load, is not held for one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuardLimits:
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
class PlannedKind:
    """One kind: rows known before, rows that came (`came` when any file did), what would become of them.

    `may_be_silent` says that nothing need come: of a delta, and of a kind that a delivery may leave out. `expired` of
    the removed had come to their end before: they go in the course of things, and count neither as removed nor known.
    """

    plural: str
    known: int
    came: bool
    fetched: int
    changed: int
    removed: int
    refused: int
    may_be_silent: bool = False
    expired: int = 0


@dataclass(frozen=True, slots=True)
class ShrunkGroup:
    """A school or class with `of` students before, `lost` of whom it would no longer have."""

    what: str
    lost: int
    of: int


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One rule against the numbers: `count` of `of`, held above the share `limit` and the floor `rows`.

    `what` is a kind in the plural, `schools`, `classes` or `people`; `sentence` says why it is held, where it is.
    """

    rule: str
    what: str
    count: int
    of: int
    limit: float
    rows: int
    held: bool
    sentence: str = ""


def hold_because(
    kinds: Sequence[PlannedKind], shrunk: Sequence[ShrunkGroup], rekeyed: int, people: int, limits: GuardLimits
) -> tuple[str, ...]:
    """Every reason to hold the plan, a sentence each; none when it may be applied. As `weigh`."""
    return tuple(one.sentence for one in weigh(kinds, shrunk, rekeyed, people, limits) if one.held)


def weigh(
    kinds: Sequence[PlannedKind], shrunk: Sequence[ShrunkGroup], rekeyed: int, people: int, limits: GuardLimits
) -> list[GuardResult]:
    """What each rule says of the plan: those with something to weigh, in the order of the kinds.

    `rekeyed` are people who would be removed and come anew under another sourcedId, of `people` known before.
    """
    found = [one for kind in kinds for one in _of_kind(kind, limits)]
    for what, many in (("school", "schools"), ("class", "classes")):
        lost = [one for one in shrunk if one.what == what and one.of >= limits.lost_of and one.lost]
        if lost:
            worst = max(lost, key=lambda one: one.lost / one.of)
            over = sum(one.lost > limits.lost * one.of for one in lost)
            which = f"{over:,} {many}" if over > 1 else f"A {what}"
            found.append(
                GuardResult(
                    *("shrunk", many, worst.lost, worst.of, limits.lost, limits.lost_of - 1, over > 0),
                    f"{which} would lose over {limits.lost:.0%} of the students, the worst {worst.lost:,} of "
                    f"{worst.of:,}.",
                )
            )
    if rekeyed:
        held = _over(rekeyed, people, limits.rekeyed, limits.rekeyed_people)
        sentence = f"{rekeyed:,} of {people:,} people would come back under another sourcedId."
        found.append(
            GuardResult("rekeyed", "people", rekeyed, people, limits.rekeyed, limits.rekeyed_people, held, sentence)
        )
    return found


def _of_kind(kind: PlannedKind, limits: GuardLimits) -> list[GuardResult]:
    if kind.known and not (kind.came and kind.fetched) and not kind.may_be_silent:
        sentence = f"No {kind.plural} came, and {kind.known:,} are known."
        return [GuardResult("empty", kind.plural, 0, kind.known, 0, 0, True, sentence)]
    living = kind.known - kind.expired
    weighed = []
    for rule, count, of, share, floor in (
        ("removed", kind.removed - kind.expired, living, limits.removed, limits.removed_rows),
        ("changed", kind.changed, kind.known, limits.changed, limits.changed_rows),
        ("refused", kind.refused, kind.fetched, limits.refused, limits.refused_rows),
    ):
        if count > 0 and of > 0:
            held = _over(count, of, share, floor)
            weighed.append(
                GuardResult(rule, kind.plural, count, of, share, floor, held, _said(rule, kind, count, of, share))
            )
    return weighed


def _said(rule: str, kind: PlannedKind, count: int, of: int, share: float) -> str:
    what, would = f"{of:,} {kind.plural}", f"would be {rule}"
    if rule == "refused":
        what, would = f"the {of:,} rows of {kind.plural}", "cannot be taken"
    return f"{count:,} of {what} ({count / of:.0%}) {would}; the limit is {share:.0%}."


def _over(count: int, of: int, share: float, floor: int) -> bool:
    return count > floor and of > 0 and count > share * of

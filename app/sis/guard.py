"""Decides whether a plan may be applied or is held for a person to review. Takes numbers and returns sentences.

If a source fails, its data can look as if all students had left the district. A plan that would change unusually many
rows is therefore held. A plan is never held for a few rows, however small the district is; each limit says how many
rows are always allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CONTRADICTED: Final = ("people", "classes", "orgs", "academic sessions")
"""The kinds whose missing rows are kept if other rows of the same delivery refer to the missing rows."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """The limits above which a plan is held for a person to review.

    Each limit is a pair: a share of the roster's rows from this source, such as `removed`, and a number of rows that is
    always allowed, such as `removed_rows`. A plan is held if it exceeds both. The limit for refused rows is a share of
    the delivered rows. The limit `lost`, for students that a school or class would lose, applies to groups of at least
    `lost_of` students.
    """

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
    reused: float = 0.02
    reused_people: int = 5
    contradicted: float = 0.02
    contradicted_rows: int = 5


@dataclass(frozen=True, slots=True)
class PlannedKind:
    """The counts of one kind of record that are compared with the limits.

    * `known`: the rows before the run. `fetched`: the delivered rows.
    * `expired`: the removed rows whose end date had passed. Such a removal is normal, so these rows count neither as
      removed nor as known.
    * `came`: whether the source has delivered this kind of record.
    * `may_be_silent`: whether a delivery may have no rows of this kind. Any kind may be missing from a delta. Some
      kinds may also be missing from a full delivery.

    The other counts are rows that the plan would change, remove or refuse.
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
    """A school or class that had `of` students and would lose `lost` of them."""

    what: str
    lost: int
    of: int


@dataclass(frozen=True, slots=True)
class GuardResult:
    """The result of comparing a plan with one limit.

    * `count` is the number that is compared, and `of` is the total. The plan is held if `count` exceeds both the share
      `limit` of the total and the number `rows`.
    * `what` is what is counted: the plural of a kind of record, or `schools`, `classes` or `people`.
    * If `held` is true, the plan is held for this reason, which `sentence` states.
    """

    rule: str
    what: str
    count: int
    of: int
    limit: float
    rows: int
    held: bool
    sentence: str = ""


def weigh(
    kinds: Sequence[PlannedKind],
    shrunk: Sequence[ShrunkGroup],
    rekeyed: int,
    people: int,
    limits: GuardLimits,
    contradicted: int = 0,
    reused: int = 0,
) -> list[GuardResult]:
    """Compares a plan with the limits. Returns a result for each limit that applies.

    * `kinds`: the counts of each kind of record.
    * `shrunk`: the schools and classes that would lose students.
    * `rekeyed`: the number of people who would be removed and created again with another sourcedId.
    * `people`: the number of known people.
    * `contradicted`: the number of known people, classes, orgs and academic sessions that are missing from a delivery
      although other rows of this delivery refer to them.
    * `reused`: the number of known people whose sourcedIds the delivery gives to other people.
    """
    results = [result for kind in kinds for result in _weigh_kind(kind, limits)]
    for what, many in (("school", "schools"), ("class", "classes")):
        groups = [group for group in shrunk if group.what == what and group.of >= limits.lost_of and group.lost]
        if groups:
            worst = max(groups, key=lambda group: group.lost / group.of)
            over = sum(group.lost > limits.lost * group.of for group in groups)
            which = f"{over:,} {many}" if over > 1 else f"A {what}"
            results.append(
                GuardResult(
                    *("shrunk", many, worst.lost, worst.of, limits.lost, limits.lost_of - 1, over > 0),
                    f"{which} would lose over {limits.lost:.0%} of the students, the worst {worst.lost:,} of "
                    f"{worst.of:,}.",
                )
            )
    if rekeyed:
        held = _exceeds(rekeyed, people, limits.rekeyed, limits.rekeyed_people)
        sentence = f"{rekeyed:,} of {people:,} people would come back under another sourcedId."
        results.append(
            GuardResult("rekeyed", "people", rekeyed, people, limits.rekeyed, limits.rekeyed_people, held, sentence)
        )
    if reused:
        held = _exceeds(reused, people, limits.reused, limits.reused_people)
        sentence = f"The sourcedIds of {reused:,} of {people:,} people would pass to other people."
        results.append(
            GuardResult("reused", "people", reused, people, limits.reused, limits.reused_people, held, sentence)
        )
    if contradicted:
        of = sum(kind.known for kind in kinds if kind.plural in CONTRADICTED)
        share, floor = limits.contradicted, limits.contradicted_rows
        held = _exceeds(contradicted, of, share, floor)
        sentence = (
            f"{contradicted:,} of {of:,} people, classes, schools and terms are missing, while the same delivery "
            "refers to them; they are kept."
        )
        results.append(
            GuardResult("contradicted", ", ".join(CONTRADICTED), contradicted, of, share, floor, held, sentence)
        )
    return results


def _weigh_kind(kind: PlannedKind, limits: GuardLimits) -> list[GuardResult]:
    if kind.known and not (kind.came and kind.fetched) and not kind.may_be_silent:
        sentence = f"No {kind.plural} came, and {kind.known:,} are known."
        return [GuardResult("empty", kind.plural, 0, kind.known, 0, 0, True, sentence)]
    current = kind.known - kind.expired
    results = []
    for rule, count, of, share, floor in (
        ("removed", kind.removed - kind.expired, current, limits.removed, limits.removed_rows),
        ("changed", kind.changed, kind.known, limits.changed, limits.changed_rows),
        ("refused", kind.refused, kind.fetched, limits.refused, limits.refused_rows),
    ):
        if count > 0 and of > 0:
            held = _exceeds(count, of, share, floor)
            results.append(
                GuardResult(rule, kind.plural, count, of, share, floor, held, _reason(rule, kind, count, of, share))
            )
    return results


def _reason(rule: str, kind: PlannedKind, count: int, of: int, share: float) -> str:
    what, would = f"{of:,} {kind.plural}", f"would be {rule}"
    if rule == "refused":
        what, would = f"the {of:,} rows of {kind.plural}", "cannot be taken"
    return f"{count:,} of {what} ({count / of:.0%}) {would}; the limit is {share:.0%}."


def _exceeds(count: int, of: int, share: float, floor: int) -> bool:
    return count > floor and of > 0 and count > share * of

"""Words verdicts and their numbers for people, and names an alarm only where the shares of growth bear it out.

Never compares with other children or with adults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.response.aimline import Direction
from app.response.rules.verdict import DECIMALS, Finding, NonresponseKind, Shares, State

WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def count(number: int) -> str:
    """Returns a number as a word if it is small, otherwise as digits."""
    return WORDS[number] if 0 <= number < len(WORDS) else str(number)


def scores(number: int) -> str:
    return f"{count(number)} score{'' if number == 1 else 's'}"


def growth(direction: Direction) -> str:
    """Returns the word for the intended change.

    It is "growth" only if higher is better, because fewer incidents are progress and not growth.
    """
    return "growth" if direction == "up" else "progress"


def weeks(numbers: Sequence[int]) -> str:
    """Returns the text for a range of weeks: "week 9", "weeks 9 to 12"."""
    first, last = numbers[0], numbers[-1]
    return f"week {first}" if first == last else f"weeks {first} to {last}"


def plain(number: float, digits: int = 2) -> str:
    """Returns a number as text without trailing zeros."""
    text = f"{number:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def plainly(left: float, right: float) -> tuple[str, str]:
    """Returns two numbers as text, with as many digits as are needed to tell them apart."""
    digits = next((d for d in range(2, DECIMALS) if plain(left, d) != plain(right, d)), DECIMALS)
    return plain(left, digits), plain(right, digits)


def percents(shares: Shares) -> tuple[int, int, int]:
    """Returns the shares in whole percent, which add to 100: the largest remainders are rounded up."""
    exact = [100 * share for share in shares.each]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(3), key=lambda n: whole[n] - exact[n])
    for n in by_remainder[: 100 - sum(whole)]:
        whole[n] += 1
    return whole[0], whole[1], whole[2]


NAMED = 0.52
"""The share of slow growth from which an alarm is called not responding.

It is above one half, because the first week in which a share passes a limit overstates it: in the benchmark, of the
students so called, .60 truly grow under half of the required rate (docs/response.md).
"""

LABELS = {
    State.INSUFFICIENT_DATA: "Too few scores",
    State.BELOW_PACE: "Growing, below pace",
    State.GOAL_MET: "Goal met",
    State.UNCERTAIN: "Not clear yet",
    State.OFF_TRACK: "Off track",
    State.UNDER_DELIVERED: "Not delivered as planned",
}


def bears_name(shares: Shares | None) -> bool:
    """Returns whether the shares say that growth is more likely than not under half of the required rate."""
    return shares is not None and shares.slow >= NAMED


def without_name(finding: Finding, shares: Shares | None) -> Finding:
    """Returns a growth rule's finding; a flag that the shares do not name becomes off track."""
    if finding.state is not State.NOT_RESPONDING or bears_name(shares):
        return finding
    return replace(finding, state=State.OFF_TRACK, kind=None, change_week=None)


def label(state: State, kind: NonresponseKind | None, on_pace: float | None) -> str:
    """Returns a verdict's short label for screens. It says no more than the state and the shares do."""
    if kind is NonresponseKind.STOPPED:
        return "Stopped responding"
    if kind is NonresponseKind.NEVER:
        return "Not responding so far"
    if state is State.RESPONDING:
        return "Responding" if on_pace is None or on_pace >= 0.5 else "No alarm, pace not clear"
    return LABELS[state]

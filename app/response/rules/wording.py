"""Puts verdicts and their numbers into words for people. Makes no comparison with other children or with adults.

An alarm is called "not responding" only if the probability of slow growth is high enough (`justifies_name`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.response.aimline import Direction
from app.response.rules.verdict import DECIMALS, Finding, NonresponseKind, Reason, Shares, State

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
    """Returns the word for the intended change: "growth" if higher is better, otherwise "progress"."""
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
    """Returns two numbers as text, with enough digits to tell them apart."""
    digits = next((d for d in range(2, DECIMALS) if plain(left, d) != plain(right, d)), DECIMALS)
    return plain(left, digits), plain(right, digits)


def percents(shares: Shares) -> tuple[int, int, int]:
    """Returns the three probabilities in whole percent, with the sum 100.

    To reach this sum, the probabilities with the largest remainders are rounded up.
    """
    exact = [100 * share for share in shares.each]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(3), key=lambda n: whole[n] - exact[n])
    for n in by_remainder[: 100 - sum(whole)]:
        whole[n] += 1
    return whole[0], whole[1], whole[2]


def state_shares(shares: Shares, required_rate: float, direction: Direction, *, is_met: bool = False) -> str:
    """Returns the part of a sentence that states the three probabilities of growth, in whole percent.

    `required_rate` is in the measure's units a week. `is_met` is true if the goal, which required the rate, is met.
    """
    slow, short, on_pace = percents(shares)
    # Without a sign, because "under half of -1" would be the contrary of too little progress.
    needed, _ = plainly(abs(required_rate), 0)
    return (
        f"{growth(direction)} is now under half of the {needed} a week that the goal "
        f"{'needed' if is_met else 'needs'} with a probability of {slow} %, between half and all of it with {short} %, "
        f"and on pace with {on_pace} %"
    )


MAJORITY = 0.5
"""The limit of the probability of sufficient growth that decides what a text may say.

At this probability or above, no text says that the goal will be missed. Below it, no text says that the student keeps
pace, or suggests a more ambitious goal.
"""

BEHIND = 0.1
"""If the probability of sufficient growth is under this, no label says that the pace is unclear.

The monitor itself concludes `below_pace` where the upper bound of the middle 80 % of the rate is under the required
one.
"""

NAMED = 0.52
"""If the probability of slow growth is at least this, an alarm is called not responding.

The limit is above one half, because the probability is overestimated in the first week in which it passes a limit. In
the benchmark, .60 of the students who are called not responding truly grow under half of the required rate
(docs/response.md).
"""

UNDER_DELIVERED = "that would be an alarm, but too little of the support was delivered to expect more growth"
"""The part of a sentence that explains the state `under_delivered`."""

LABELS = {
    State.INSUFFICIENT_DATA: "Too few scores",
    State.BELOW_PACE: "Growing, below pace",
    State.GOAL_MET: "Goal met",
    State.UNCERTAIN: "Not clear yet",
    State.OFF_TRACK: "Off track",
    State.UNDER_DELIVERED: "Not delivered as planned",
}


HIGHER_GOAL = "so a more ambitious goal can be set"
NO_CHANGE = "so this rule gives no reason to change the support"
"""Two ends of the sentence of a k-point rule that raises no alarm."""


def withdraw_higher_goal(finding: Finding) -> Finding:
    """Returns the finding without the suggestion of a higher goal, if it has one.

    A k-point rule suggests a higher goal if the last scores are above the aimline, even if growth stopped long ago.
    """
    because = tuple(reason for reason in finding.because if reason.code != "suggest_higher_goal")
    return replace(finding, because=because, sentence=finding.sentence.replace(HIGHER_GOAL, NO_CHANGE))


def justifies_name(shares: Shares | None) -> bool:
    """Returns whether an alarm may be called "not responding".

    The probability of slow growth (under half of the required rate) must be at least `NAMED`.
    """
    return shares is not None and shares.slow >= NAMED


def remove_unjustified_name(finding: Finding, shares: Shares | None) -> Finding:
    """Returns the finding, with its state `not_responding` replaced by `off_track` if slow growth is not probable
    enough.

    `shares` has the probability of slow growth, and `justifies_name` decides whether it is high enough. A finding with
    any other state is returned unchanged.
    """
    if finding.state is not State.NOT_RESPONDING or justifies_name(shares):
        return finding
    return without_name(finding, State.OFF_TRACK)


def without_name(finding: Finding, state: State) -> Finding:
    """Returns the finding with the state `state`. Its kind, and the week in which growth slowed, are removed."""
    because = tuple(reason for reason in finding.because if reason.code != "change")
    return replace(finding, state=state, kind=None, change_week=None, because=because)


TOO_FEW = frozenset({"too_few_scores", "too_few_weeks", "too_early", "no_instructional_week"})
"""The codes of reasons for `insufficient_data` that disappear with more scores."""


def needs_more_than_scores(state: State, because: Sequence[Reason]) -> bool:
    """Returns whether a series has no verdict for a reason that more scores do not change, such as a missing SEM."""
    return state is State.INSUFFICIENT_DATA and not {reason.code for reason in because} <= TOO_FEW


CANNOT = "Cannot be judged"


def label(state: State, kind: NonresponseKind | None, on_pace: float | None, direction: Direction | None = "up") -> str:
    """Returns the short label of a verdict for screens.

    * The label "Responding" is given only if sufficient growth is likely; `on_pace` is its probability, if known.
    * If sufficient growth is likely, an alarm of a rule that looks at the scores only is not labelled "Off track".
    * `direction` is the better direction of a measure that grows along a line, and None for any other measure. The
      label calls no decrease "growth", and speaks of a pace only if the measure grows along a line.
    """
    if state is State.BELOW_PACE and direction != "up":
        return "Part of the way to the goal" if direction is None else "Improving, below pace"
    if kind is NonresponseKind.STOPPED:
        return "Stopped responding"
    if kind is NonresponseKind.NEVER:
        return "Not responding so far"
    if state is State.OFF_TRACK and on_pace is not None and on_pace >= MAJORITY:
        return "Alarm, pace not clear"
    if state is State.RESPONDING:
        if on_pace is None or on_pace >= MAJORITY:
            return "Responding"
        return "No alarm, pace not clear" if on_pace >= BEHIND else "No alarm, below pace"
    return LABELS[state]

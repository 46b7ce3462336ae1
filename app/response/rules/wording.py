"""Puts numbers into words for a teacher's sentence. Never compares with other children or with adults."""

from __future__ import annotations

from collections.abc import Sequence

from app.response.aimline import Direction
from app.response.rules.verdict import DECIMALS, Shares

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

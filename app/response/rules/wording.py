"""Owns how numbers are put in a teacher's sentence. Never compares with other children or with adults."""

from __future__ import annotations

from collections.abc import Sequence

from app.response.aimline import Direction
from app.response.rules.verdict import DECIMALS

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
    """Small counts as words."""
    return WORDS[number] if 0 <= number < len(WORDS) else str(number)


def scores(number: int) -> str:
    return f"{count(number)} score{'' if number == 1 else 's'}"


def growth(direction: Direction) -> str:
    """What to call the change that is wanted: fewer incidents are no growth."""
    return "growth" if direction == "up" else "progress"


def weeks(numbers: Sequence[int]) -> str:
    """From the first to the last of some weeks in order: "week 9", "weeks 9 to 12"."""
    first, last = numbers[0], numbers[-1]
    return f"week {first}" if first == last else f"weeks {first} to {last}"


def plain(number: float, digits: int = 2) -> str:
    """A number without idle zeros."""
    text = f"{number:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def plainly(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    digits = next((d for d in range(2, DECIMALS) if plain(one, d) != plain(other, d)), DECIMALS)
    return plain(one, digits), plain(other, digits)

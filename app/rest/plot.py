"""Computes the geometry of a chart, and writes its SVG elements: texts, lines and signs.

Every text is escaped here. Each colour is combined with a shape, for readers who cannot distinguish colours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from html import escape
from math import ceil, floor, log10
from re import compile as pattern

NO_XML = pattern("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

GAP = 0.9
"""The width on the axis, in weeks, at which every break is drawn, whatever its length."""
LETTER, BOLD = 0.56, 0.62
"""The assumed widths of a regular and of a bold letter, as shares of the font size."""
SMALL, TEXT, LARGE = 11.0, 12.0, 15.0
MARKS = {
    "good": '<circle class="good" r="9"/><path class="mark" d="M-4 0.5 -1.2 3.4 4.2 -3"/>',
    "watch": '<path class="watch" d="M0 -10 10 8 -10 8Z"/><path class="mark" d="M0 -3.5V2M0 5.2V5.3"/>',
    "alert": '<rect class="alert" x="-9" y="-9" width="18" height="18" rx="3"/>'
    '<path class="mark" d="M0 -5V1.5M0 5.2V5.3"/>',
    "quiet": '<circle class="quiet" r="9"/><path class="mark" d="M-4 0V.1M0 0V.1M4 0V.1"/>',
}


@dataclass(frozen=True, slots=True)
class Plot:
    """The rectangle in which the scores are drawn, with the scales of weeks and values."""

    left: float
    right: float
    top: float
    bottom: float
    first: float
    span: float
    breaks: tuple[int, ...]
    low: float
    high: float

    def x(self, place: float) -> float:
        """Returns the horizontal position, in pixels, of a place on the axis of weeks. Breaks have a fixed width."""
        across = place - self.first
        for week in self.breaks:
            across += min(max((place - week - 0.45) * 10, 0.0), 1.0) * GAP
        return self.left + (self.right - self.left) * across / self.span

    def y(self, value: float) -> float:
        """Returns the vertical position, in pixels, of a value. A value outside of the plot is moved to its edge."""
        part = (value - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * min(max(part, 0.0), 1.0)


def escape_xml(words: str) -> str:
    """Returns a text escaped for XML, without the characters that XML does not allow."""
    return escape(NO_XML.sub("", words))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round values between two bounds, at most `most` + 1."""
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    step = next(power * part for part in (1, 2, 5, 10) if power * part >= rough)
    return [step * n for n in range(ceil(low / step), floor(high / step) + 1)]


def text(x: float, y: float, words: str, classes: str, anchor: str = "start") -> str:
    """Returns an SVG text element at a position; the text is escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}" text-anchor="{anchor}">{escape_xml(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """Returns the SVG element of a straight line."""
    return f'<line class="{classes}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def path(places: Iterable[tuple[float, float]]) -> str:
    """Returns the `d` attribute of an SVG path through these points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def shorten(words: str, width: float, size: float) -> str:
    """Returns a text, shortened if necessary to fit a width in pixels."""
    most = max(int(width / (size * LETTER)), 4)
    return words if len(words) <= most else words[: most - 1].rstrip(" ,") + "…"


def format_day(day: date) -> str:
    """Returns a day without its year, such as 5 Jan."""
    return f"{day.day} {day:%b}"


def format_number(number: float) -> str:
    """Returns a number without trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if number % 1 else f"{number:.0f}"


def format_rate(rate: float) -> str:
    """Returns a growth rate with its sign."""
    number = format_number(round(rate, 2))
    return "0" if number in ("0", "-0") else f"+{number}" if rate > 0 else number.replace("-", "−")

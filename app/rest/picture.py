"""Draws a support's chart as plain SVG, in light or dark colours, at least 280 pixels wide.

The SVG contains no name and no free text. The only id in it is the last part of the support's id, so that two charts on
one page can be distinguished.
"""

from collections.abc import Iterable, Iterator
from math import ceil

from app.response.chart import ChartPhase, Picture
from app.rest.caption import describe, heading_for
from app.rest.chart_style import add_attributes, style_sheet
from app.rest.plot import (
    BOLD,
    GAP,
    LARGE,
    LETTER,
    MARKS,
    SMALL,
    TEXT,
    Plot,
    escape_xml,
    format_day,
    format_number,
    format_rate,
    line,
    path,
    shorten,
    text,
    ticks,
)

NARROWEST, WIDEST, USUAL = 280, 1600, 720


def svg(picture: Picture, width: int = USUAL, theme: str | None = None) -> str:
    """Returns the chart as an SVG document. `theme` is light or dark; by default the reader's preference is used."""
    has_sessions = any(week.known_minutes for week in picture.sessions.values())
    legend = list(_legend(picture, width - 24.0))
    under = 26.0 + (22.0 if has_sessions else 0.0) + 17.0 * (max((row for row, *_ in legend), default=0) + 1)
    tall = min(max(width * 0.46, 190.0), 420.0)
    plot = _plot(picture, width, top=62.0, bottom=62.0 + tall)
    height = ceil(plot.bottom + under + 10)
    kind, headline, short = heading_for(picture)
    parts = [
        *_ground(picture, plot, width),
        *_change(picture, plot),
        *_lines(picture, plot),
        *_points(picture, plot),
        *_labels(picture, plot),
        *(_sessions(picture, plot, plot.bottom + 26) if has_sessions else ()),
        *_drawn(legend, plot.bottom + under - 17.0 * (legend[-1][0] + 1 if legend else 1) + 12),
    ]
    room = width - 52.0
    title = headline if len(headline) * LARGE * BOLD <= room else short
    heading = f'<g transform="translate(22 22)">{MARKS[kind]}</g>' + text(
        40, 27, shorten(title, room, LARGE), f"title {kind}"
    )
    about = f"{picture.measure.name}, {picture.measure.unit}"
    heading += text(12, 48, shorten(about, width - 24, TEXT), "soft")
    ground = f'<rect class="ground" width="{width}" height="{height}"/>'
    drawing = add_attributes(f"{ground}{heading}{''.join(parts)}", theme)
    mark = picture.support.id.hex[-8:]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="aimline" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-labelledby="t{mark} d{mark}">'
        f'<title id="t{mark}">{escape_xml(f"{about}: {headline}")}</title>'
        f'<desc id="d{mark}">{escape_xml(describe(picture))}</desc><style>{style_sheet(theme)}</style>{drawing}</svg>'
    )


def _plot(picture: Picture, width: int, *, top: float, bottom: float) -> Plot:
    current = picture.stretches[-1]
    values = [point.value for point in picture.points] + [current.goal]
    for stretch in picture.stretches:
        values += [stretch.baseline, stretch.at(stretch.to_week)]
    low, high = min(values), max(values)
    room = (high - low) or max(abs(high), 1.0)
    # The text at the goal needs space to the right of it.
    below, above = (0.06, 0.1) if current.goal >= current.baseline else (0.16, 0.06)
    low, high = max(low - room * below, picture.measure.lowest), min(high + room * above, picture.measure.highest)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    widest = max(len(format_number(tick)) for tick in ticks(low, high, 5))
    first, last = min(picture.weeks) - 0.5, max(picture.weeks) + 0.6
    breaks = tuple(pause.after_week for pause in picture.breaks)
    left_margin = 12 + 8 + widest * SMALL * LETTER
    return Plot(left_margin, width - 14.0, top, bottom, first, last - first + GAP * len(breaks), breaks, low, high)


def _ground(picture: Picture, plot: Plot, width: int) -> Iterator[str]:
    for pause in picture.breaks:
        begins, ends = plot.x(pause.after_week + 0.44), plot.x(pause.after_week + 0.56)
        label = f"{pause.weeks} week{'s' if pause.weeks > 1 else ''} off from {format_day(pause.begins_on)}"
        yield (
            f'<rect class="break" x="{begins:.1f}" y="{plot.top:.1f}" width="{max(ends - begins, 3):.1f}" '
            f'height="{plot.bottom - plot.top:.1f}"><title>{label}</title></rect>'
        )
        if ends - begins > SMALL and pause.weeks > 1:
            where = f"translate({(begins + ends) / 2 + 4:.1f} {plot.top + 6:.1f}) rotate(-90)"
            yield f'<g transform="{where}">{text(0, 0, f"{pause.weeks} weeks off", "soft s", "end")}</g>'
    for tick in ticks(plot.low, plot.high, 5):
        y = plot.y(tick)
        yield line(plot.left, y, plot.right, y, "rule")
        yield text(plot.left - 7, y + 4, format_number(tick), "soft s", "end")
    free = plot.left - 20
    for week, monday in picture.weeks.items():
        x, label = plot.x(week), format_day(monday)
        half = len(label) * SMALL * LETTER / 2
        if x - half >= free and x + half <= width - 4 and week >= min(0, min(picture.weeks)):
            yield line(x, plot.bottom, x, plot.bottom + 4, "rule")
            yield text(x, plot.bottom + 17, label, "soft s", "middle")
            free = x + half + 14


def _change(picture: Picture, plot: Plot) -> Iterator[str]:
    if picture.change is None:
        return
    week = picture.change.week
    begins, ends, middle = plot.x(week - 0.42), plot.x(week + 0.42), plot.x(week)
    yield (
        f'<rect class="change" x="{begins:.1f}" y="{plot.top:.1f}" width="{ends - begins:.1f}" '
        f'height="{plot.bottom - plot.top:.1f}"/>'
    )
    yield line(middle, plot.top, middle, plot.bottom, "change-line")


def _lines(picture: Picture, plot: Plot) -> Iterator[str]:
    for stretch in picture.stretches:
        weeks = [week for week in picture.weeks if stretch.from_week <= week <= stretch.to_week]
        if weeks:
            places = [(plot.x(week), plot.y(stretch.at(week))) for week in weeks]
            yield f'<path class="aim" d="{path(places)}"/>'
        x, y = plot.x(stretch.place - 0.16), plot.y(stretch.baseline)
        if stretch.number > 1:
            yield line(x, plot.top, x, plot.bottom, "phase")
        yield line(x, y, plot.x(stretch.from_week + 0.3), y, "level")
    fit = picture.fit
    if fit is None:
        return
    ends = (fit.from_week - 0.2, fit.to_week + 0.2)
    if fit.rate_low is not None and fit.rate_high is not None:
        middle = (plot.x(fit.through_week), plot.y(fit.through_value))
        rates = (fit.rate_low, fit.rate_high)
        fan = "".join(
            path([middle, *((plot.x(end), plot.y(fit.at(end, rate))) for rate in rates)]) + "Z" for end in ends
        )
        yield f'<path class="band" d="{fan}"/>'
    yield f'<path class="fit" d="{path([(plot.x(end), plot.y(fit.at(end, fit.rate))) for end in ends])}"/>'


def _points(picture: Picture, plot: Plot) -> Iterator[str]:
    for previous, following in zip(picture.points, picture.points[1:], strict=False):
        if previous.phase == following.phase and previous.kind == following.kind:
            skips = following.week - previous.week > 1
            spans_break = previous.week in plot.breaks and following.week != previous.week
            over = " over" if skips or spans_break else ""
            places = [(plot.x(point.place), plot.y(point.value)) for point in (previous, following)]
            yield f'<path class="trace{over}" d="{path(places)}"/>'
    radius = 3.0 if len(picture.points) * 9 > plot.right - plot.left else 3.8
    for point in picture.points:
        x, y = plot.x(point.place), plot.y(point.value)
        label = f"{format_day(point.taken_on)}: {format_number(point.value)}"
        yield f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{label}</title></circle>'
    for week in picture.missed:
        x, y = plot.x(week), plot.bottom - 6
        yield f'<path class="missed" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'


def _labels(picture: Picture, plot: Plot) -> Iterator[str]:
    current = picture.stretches[-1]
    better = 1 if current.goal >= current.baseline else -1
    x, y = plot.x(min(current.goal_week, max(picture.weeks))), plot.y(current.goal)
    if current.goal_week in picture.weeks:
        yield f'<circle class="goal" cx="{x:.1f}" cy="{y:.1f}" r="6"/><circle class="goal-in" cx="{x:.1f}" '
        yield f'cy="{y:.1f}" r="2.6"/>'
    label = f"goal {format_number(current.goal)}, {format_day(current.goal_on)}"
    beneath = y + 20 if y + 22 < plot.bottom else y - 11
    near_y = y - 11 if better > 0 and y - 11 > plot.top - 4 else beneath
    yield text(min(x + 6, plot.right), near_y, label, "aim-ink s halo", "end")
    for stretch in picture.stretches:
        if stretch.number > 1:
            yield from _phase_label(stretch, picture, plot)
    if picture.change is not None:
        word = "slowed" if picture.measure.kind == "growth" else "fell back"
        label = f"{word} about {format_day(picture.change.monday)}"
        half = len(label) * SMALL * LETTER / 2
        x = min(max(plot.x(picture.change.week), plot.left + half), plot.right - half)
        lowest = plot.bottom - (18 if picture.missed else 8)
        yield text(x, lowest if better > 0 else plot.top + 12, label, "alert s halo", "middle")


def _phase_label(stretch: ChartPhase, picture: Picture, plot: Plot) -> Iterator[str]:
    x, label = plot.x(stretch.place - 0.16), f"phase {stretch.number}"
    room = len(label) * SMALL * LETTER
    following = next(
        (plot.x(other.place) for other in picture.stretches if other.number == stretch.number + 1), plot.right
    )
    label, room = (label, room) if following - x > room + 8 else (str(stretch.number), SMALL)
    if x + room + 4 <= plot.right:
        yield text(x + 4, plot.top - 3, label, "s halo")
    else:
        yield text(x - 4, plot.top - 3, label, "s halo", "end")


def _sessions(picture: Picture, plot: Plot, top: float) -> Iterator[str]:
    """Yields a box for the sessions of each week, filled up to the share that was delivered.

    If a week has no recorded session, its box is dashed.
    """
    tall = 14.0
    wide = max(min((plot.right - plot.left) / plot.span - 2, 16), 3)
    for week, of_week in sorted(picture.sessions.items()):
        x = plot.x(week) - wide / 2
        box = f'x="{x:.1f}" width="{wide:.1f}"'
        if not of_week.known_minutes:
            yield f'<rect class="asked unknown" {box} y="{top}" height="{tall}"/>'
            continue
        part = min(of_week.delivered_minutes / of_week.known_minutes, 1.0) * tall
        delivered = f"{of_week.delivered_minutes} of {of_week.known_minutes} minutes"
        title = f"{format_day(of_week.monday)}: {delivered}"
        yield f'<g><title>{title}</title><rect class="asked" {box} y="{top}" height="{tall}"/>'
        yield f'<rect class="lost" {box} y="{top}" height="{tall - part:.1f}"/>'
        yield f'<rect class="given" {box} y="{top + tall - part:.1f}" height="{part:.1f}"/></g>'


def _legend(picture: Picture, width: float) -> Iterator[tuple[int, float, str, str]]:
    """Yields the entries of the legend: for each, its row, its horizontal position, its symbol and its text."""
    entries = [('<circle class="score" cx="8" r="3.8"/>', "score")]
    if any(point.kind == "baseline" for point in picture.points):
        entries.append(('<circle class="baseline" cx="8" r="3.8"/>', "baseline"))
    entries.append(('<path class="aim" d="M0 0H18"/>', "aimline"))
    if picture.fit is not None:
        band = picture.fit.rate_low is not None
        sign = (
            '<rect class="band" y="-6" width="18" height="12"/>' if band else ""
        ) + '<path class="fit" d="M0 0H18"/>'
        rate = f"rate now {format_rate(picture.fit.rate)} a week" + (", 80 % band" if band else "")
        entries.append((sign, rate))
    if picture.missed:
        entries.append(('<path class="missed" d="M5 -3l6 6m0 -6l-6 6"/>', "no score"))
    if picture.breaks:
        entries.append(('<rect class="break" x="3" y="-6" width="11" height="12"/>', "no school"))
    if any(week.known_minutes for week in picture.sessions.values()):
        half = '<rect class="lost" x="3" y="-6" width="11" height="5"/>'
        entries.append((f'{half}<rect class="given" x="3" y="-1" width="11" height="7"/>', "minutes delivered"))
        if any(not week.known_minutes for week in picture.sessions.values()):
            sign = '<rect class="asked unknown" x="3" y="-6" width="11" height="12"/>'
            entries.append((sign, "sessions not recorded"))
    row, x = 0, 0.0
    for sign, words in entries:
        wide = 24 + len(words) * SMALL * LETTER
        if x > 0 and x + wide > width:
            row, x = row + 1, 0.0
        yield row, x, sign, words
        x += wide + 14


def _drawn(legend: Iterable[tuple[int, float, str, str]], top: float) -> Iterator[str]:
    for row, x, sign, words in legend:
        yield f'<g transform="translate({12 + x:.1f} {top + 17 * row:.1f})">{sign}{text(24, 4, words, "soft s")}</g>'

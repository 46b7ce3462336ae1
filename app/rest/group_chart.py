"""Serves the chart of a group in REST, as data and as SVG. Of a student's name, it shows at most the initials."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from app.core import ids
from app.core.plural import pluralize
from app.group.chart import GroupLine, GroupPicture, group_picture
from app.rest.chart import NO_CHART, SVG_DOCUMENT, svg_response
from app.rest.chart_style import add_attributes, style_sheet
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.picture import NARROWEST, USUAL, WIDEST
from app.rest.plot import LARGE, TEXT, Plot, escape_xml, format_day, format_number, line, path, shorten, text, ticks
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["verdicts"], route_class=Route)
CONTRACT = requires(group_picture, conflict=NO_CHART)
CONTRACT["responses"][200] = SVG_DOCUMENT
MeasureName = Annotated[
    str | None,
    Query(description="A measure of its members: a code or an id; by default, the group's.", max_length=200),
]
CLASSES = ("member-aim", "member-fit", "member-good", "member-watch")
"""The CSS classes that the lines use in turn, so that neighbouring lines differ in colour and in dashes."""
LABEL_HEIGHT = 13.0
"""The least vertical distance between two labels, in pixels."""


class GroupChartPoint(Shape):
    """A member's score of one day, or the median if there are several."""

    taken_on: date
    value: float


class GroupChartLine(Shape):
    """The line of one member of the group.

    Its label is the initials if the caller may read the roster, otherwise a number.
    """

    label: str
    support: str
    from_on: date
    until_on: date | None
    goal: float
    goal_on: date
    points: list[GroupChartPoint]


class GroupChart(Shape):
    """The data of a group's chart; `others` is the number of members that the caller may not see."""

    group: str
    measure: str
    measure_name: str
    unit: str
    lines: list[GroupChartLine]
    others: int


@router.get("/groups/{group}/chart", operation_id="get_group_chart", **requires(group_picture, conflict=NO_CHART))
async def get_group_chart(work: OpenWork, group: str, measure: MeasureName = None) -> GroupChart:
    """Returns the chart of a group as data, for clients that draw it themselves."""
    picture = await group_picture(work, row_id("group", group), measure)
    return GroupChart(
        group=ids.format_id("group", picture.group.id),
        measure=ids.format_id("measure", picture.measure.id),
        measure_name=picture.measure.name,
        unit=picture.measure.unit,
        lines=[_line(one) for one in picture.lines],
        others=picture.others,
    )


@router.get("/groups/{group}/chart.svg", operation_id="get_group_chart_svg", response_class=Response, **CONTRACT)
async def get_group_chart_svg(
    work: OpenWork,
    request: Request,
    group: str,
    theme: Annotated[
        Literal["light", "dark"] | None,
        Query(description="Light or dark; without it, the preference of the reader's device."),
    ] = None,
    width: Annotated[int, Query(ge=NARROWEST, le=WIDEST, description="Pixels.")] = USUAL,
    measure: MeasureName = None,
) -> Response:
    """Returns the chart of a group as SVG, with one line of scores for each member that the caller may see."""
    picture = await group_picture(work, row_id("group", group), measure)
    return svg_response(request, group_svg(picture, width, theme))


def _line(one: GroupLine) -> GroupChartLine:
    return GroupChartLine(
        label=one.label,
        support=ids.format_id("support", one.support_id),
        from_on=one.from_on,
        until_on=one.until_on,
        goal=one.goal,
        goal_on=one.goal_on,
        points=[GroupChartPoint(taken_on=point.taken_on, value=point.value) for point in one.points],
    )


def group_svg(picture: GroupPicture, width: int = USUAL, theme: str | None = None) -> str:
    """Returns the chart of a group as an SVG document."""
    tall = min(max(width * 0.46, 190.0), 420.0)
    plot, height = _plot(picture, width, 52.0, 52.0 + tall), int(52.0 + tall + 34)
    about = f"{picture.measure.name}, {picture.measure.unit}"
    heading = _heading(picture)
    parts = [
        f'<rect class="ground" width="{width}" height="{height}"/>',
        text(12, 20, shorten(heading, width - 24, LARGE), "title"),
        text(12, 40, shorten(about, width - 24, TEXT), "soft"),
        *_axes(picture, plot),
        *(part for position, one in enumerate(picture.lines) for part in _drawn(one, position, picture, plot)),
        *_labels(picture, plot),
    ]
    mark = picture.group.id.hex[-8:]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="aimline" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-labelledby="t{mark}">'
        f'<title id="t{mark}">{escape_xml(f"{about}: {heading}")}</title><style>{style_sheet(theme)}</style>'
        f"{add_attributes(''.join(parts), theme)}</svg>"
    )


def _heading(picture: GroupPicture) -> str:
    """Returns how many students the chart shows: members, former members, and members who are not shown."""
    former = sum(one.until_on is not None for one in picture.lines)
    members = len(picture.lines) - former
    parts = [pluralize(members, "student", "students")] if members or not former else []
    parts += [pluralize(former, "former student", "former students")] if former else []
    others = f"; {picture.others} more not shown" if picture.others else ""
    return ", ".join(parts) + others


def _plot(picture: GroupPicture, width: int, top: float, bottom: float) -> Plot:
    days = [point.taken_on for one in picture.lines for point in one.points]
    values = [point.value for one in picture.lines for point in one.points]
    values += [one.goal for one in picture.lines] or [picture.measure.lowest, picture.measure.highest]
    low, high = min(values), max(values)
    room = max((high - low) * 0.08, 1.0)
    last = max(days, default=picture.group.starts_on)
    span = max((last - picture.group.starts_on).days, 7)
    return Plot(48.0, width - 64.0, top, bottom, 0.0, float(span), (), low - room, high + room)


def _axes(picture: GroupPicture, plot: Plot) -> Iterator[str]:
    for value in ticks(plot.low, plot.high, 5):
        yield line(plot.left, plot.y(value), plot.right, plot.y(value), "rule")
        yield text(plot.left - 8, plot.y(value) + 4, format_number(value), "soft s", "end")
    begins = picture.group.starts_on
    yield text(plot.left, plot.bottom + 20, format_day(begins), "soft s")
    last = date.fromordinal(begins.toordinal() + int(plot.span))
    yield text(plot.right, plot.bottom + 20, format_day(last), "soft s", "end")


def _drawn(one: GroupLine, position: int, picture: GroupPicture, plot: Plot) -> Iterator[str]:
    places = _places(one, picture, plot)
    if len(places) > 1:
        yield f'<path class="trace {CLASSES[position % len(CLASSES)]}" d="{path(places)}"/>'
    for x, y in places:
        yield f'<circle class="score" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


def _labels(picture: GroupPicture, plot: Plot) -> Iterator[str]:
    """Yields the label of each line, next to the line's last score.

    A label that would cover another one is moved down.
    """
    ends = [(_places(one, picture, plot)[-1], one.label) for one in picture.lines if one.points]
    lowest = -LABEL_HEIGHT
    for (x, y), label in sorted(ends, key=lambda end: end[0][1]):
        lowest = max(y, lowest + LABEL_HEIGHT)
        yield text(x + 6, lowest + 4, label, "s")


def _places(one: GroupLine, picture: GroupPicture, plot: Plot) -> list[tuple[float, float]]:
    begins_on = picture.group.starts_on
    return [(plot.x(float((point.taken_on - begins_on).days)), plot.y(point.value)) for point in one.points]

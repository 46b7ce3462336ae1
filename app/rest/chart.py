"""Serves the chart of a support in REST, as data and as SVG."""

from datetime import date
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.response import chart
from app.response.chart import Picture, picture_of
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.picture import NARROWEST, USUAL, WIDEST, svg
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["verdicts"], route_class=Route)
VerdictKind = Literal["never", "stopped"]
VerdictState = Literal[
    "insufficient_data",
    "responding",
    "below_pace",
    "goal_met",
    "uncertain",
    "off_track",
    "not_responding",
    "under_delivered",
]
MeasureName = Annotated[
    str | None,
    Query(description="One of its measures: a code or an id; by default, its first.", max_length=200),
]
SVG = "image/svg+xml"
DOWNLOAD = "application/octet-stream"
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
"""The headers that keep the SVG from running scripts or loading anything, and keep it out of shared caches."""
SVG_DOCUMENT = {
    "description": "An SVG document.",
    "content": {SVG: {"schema": {"type": "string"}}, DOWNLOAD: {"schema": {"type": "string", "format": "binary"}}},
}
NO_CHART = "Without a measure there is no chart (support.no_measure)."
CONTRACT = requires(picture_of, conflict=NO_CHART)
CONTRACT["responses"][200] = SVG_DOCUMENT


class ChartWeek(Shape):
    """An instructional week on the axis of the chart. Week 0 is the one in which the first phase begins."""

    week: int
    monday: date
    is_missed: bool = False


class ChartBreak(Shape):
    """A break: weeks without instruction, shown after `after_week` on the axis. It includes its first and last day."""

    after_week: int
    begins_on: date
    ends_on: date
    weeks: int


class ChartPoint(Shape):
    """A score, or the median of several scores of one day. Each score of a baseline is a separate point.

    `place` is the point's position on the axis of weeks. `kind` is `baseline` for scores from before the support began,
    and for scores that were taken to establish a baseline. Screening scores from after the beginning of the support are
    left out, because they do not measure progress.
    """

    scores: list[str]
    taken_on: date
    place: float
    value: float
    kind: Literal["baseline", "score"]
    phase: int | None


class ChartLine(Shape):
    """A straight line in the chart, from a value in one week to a value in another."""

    from_week: float
    from_value: float
    to_week: float
    to_value: float


class ChartPhase(Shape):
    """A phase of the support, with the part of its aimline that the chart shows.

    The aimline is the line from the baseline to the goal.
    """

    phase: str
    number: int
    begins_on: date
    ends_on: date | None
    baseline: float
    goal: float
    goal_on: date
    goal_week: int
    required_rate: float
    aimline: ChartLine


class FittedRate(Shape):
    """The growth rate that the verdict states, in the measure's units a week.

    `line` goes through the middle of the scores with the slope `rate`. `low` and `high` go through the same point with
    the slopes `rate_low` and `rate_high`. The true rate is between these two with a probability of 80 %.
    """

    rate: float
    rate_low: float | None
    rate_high: float | None
    line: ChartLine
    low: ChartLine | None
    high: ChartLine | None


class SessionsOfWeek(Shape):
    """The planned and the delivered minutes of a week's recorded sessions, and the number of unrecorded sessions."""

    week: int
    known_minutes: int
    delivered_minutes: int
    unknown_sessions: int


class ChartVerdict(Shape):
    """The current verdict on the support: whether the scores show that the student responds.

    `slow`, `short` and `on_pace` add to one, and are null if the verdict has none.
    """

    id: str
    state: VerdictState
    kind: VerdictKind | None
    label: Annotated[str, Field(description="The verdict in a few words, for screens.")]
    sentence: str
    slow: Annotated[float | None, Field(description="The probability of growth under half of the required rate.")]
    short: Annotated[float | None, Field(description="The probability of growth from half to under all of that rate.")]
    on_pace: Annotated[float | None, Field(description="The probability of growth at the required rate or above.")]
    change_week: int | None
    change_monday: date | None


class Chart(Shape):
    """The data of a support's chart, whose axis counts instructional weeks."""

    support: str
    measure: str
    measure_name: str
    unit: str
    direction: Literal["up", "down"]
    weeks: list[ChartWeek]
    breaks: list[ChartBreak]
    points: list[ChartPoint]
    phases: list[ChartPhase]
    sessions: list[SessionsOfWeek]
    verdict: ChartVerdict | None
    fitted: FittedRate | None


@router.get("/supports/{support}/chart", operation_id="get_chart", **requires(picture_of, conflict=NO_CHART))
async def get_chart(work: OpenWork, support: str, measure: MeasureName = None) -> Chart:
    """Returns the chart of a support as data, for clients that draw it themselves."""
    picture = await picture_of(work, row_id("support", support), measure)
    return Chart.model_construct(
        support=ids.format_id("support", picture.support.id),
        measure=ids.format_id("measure", picture.measure.id),
        measure_name=picture.measure.name,
        unit=picture.measure.unit,
        direction="down" if picture.measure.direction == "down" else "up",
        weeks=[
            ChartWeek.model_construct(week=week, monday=monday, is_missed=week in picture.missed)
            for week, monday in picture.weeks.items()
        ],
        breaks=[
            ChartBreak.model_construct(
                after_week=pause.after_week, begins_on=pause.begins_on, ends_on=pause.ends_on, weeks=pause.weeks
            )
            for pause in picture.breaks
        ],
        points=[_point(point) for point in picture.points],
        phases=[_phase(stretch) for stretch in picture.stretches],
        sessions=[
            SessionsOfWeek.model_construct(
                week=week,
                known_minutes=minutes.known_minutes,
                delivered_minutes=minutes.delivered_minutes,
                unknown_sessions=minutes.unknown_sessions,
            )
            for week, minutes in sorted(picture.sessions.items())
        ],
        verdict=_verdict(picture),
        fitted=None if picture.fit is None else _fitted(picture.fit),
    )


@router.get(
    "/supports/{support}/chart.svg",
    operation_id="get_chart_svg",
    response_class=Response,
    **CONTRACT,
)
async def get_chart_svg(
    work: OpenWork,
    request: Request,
    support: str,
    measure: MeasureName = None,
    theme: Annotated[
        Literal["light", "dark"] | None,
        Query(description="Light or dark; without it, the preference of the reader's device."),
    ] = None,
    width: Annotated[int, Query(ge=NARROWEST, le=WIDEST, description="Pixels.")] = USUAL,
) -> Response:
    """Returns the chart of a support as SVG: scores, aimline, goal, phase lines, missed weeks, breaks and verdict."""
    picture = svg(await picture_of(work, row_id("support", support), measure), width, theme)
    return svg_response(request, picture)


def svg_response(request: Request, picture: str) -> Response:
    """Returns a picture as SVG.

    If the caller accepts `application/octet-stream`, the response is a file to download.
    """
    if DOWNLOAD in request.headers.get("accept", ""):
        attachment = {"Content-Disposition": 'attachment; filename="chart.svg"'}
        return Response(picture, media_type=DOWNLOAD, headers=PICTURE_HEADERS | attachment)
    return Response(picture, media_type=SVG, headers=PICTURE_HEADERS)


def _point(point: chart.Point) -> ChartPoint:
    return ChartPoint.model_construct(
        scores=[ids.format_id("score", score_id) for score_id in point.score_ids],
        taken_on=point.taken_on,
        place=round(point.place, 3),
        value=point.value,
        kind="baseline" if point.kind == "baseline" else "score",
        phase=point.phase,
    )


def _phase(stretch: chart.ChartPhase) -> ChartPhase:
    return ChartPhase.model_construct(
        phase=ids.format_id("phase", stretch.phase_id),
        number=stretch.number,
        begins_on=stretch.begins_on,
        ends_on=stretch.ends_on,
        baseline=stretch.baseline,
        goal=stretch.goal,
        goal_on=stretch.goal_on,
        goal_week=stretch.goal_week,
        required_rate=round(stretch.rate, 6),
        aimline=ChartLine.model_construct(
            from_week=stretch.from_week,
            from_value=stretch.baseline,
            to_week=stretch.to_week,
            to_value=round(stretch.at(stretch.to_week), 6),
        ),
    )


def _fitted(fit: chart.Fit) -> FittedRate:
    def line(rate: float) -> ChartLine:
        begins, ends = (round(fit.at(week, rate), 6) for week in (fit.from_week, fit.to_week))
        return ChartLine.model_construct(from_week=fit.from_week, from_value=begins, to_week=fit.to_week, to_value=ends)

    return FittedRate(
        rate=fit.rate,
        rate_low=fit.rate_low,
        rate_high=fit.rate_high,
        line=line(fit.rate),
        low=None if fit.rate_low is None else line(fit.rate_low),
        high=None if fit.rate_high is None else line(fit.rate_high),
    )


def _verdict(picture: Picture) -> ChartVerdict | None:
    row = picture.verdict
    if row is None:
        return None
    return ChartVerdict.model_construct(
        id=ids.format_id("verdict", row.id),
        state=cast(VerdictState, row.state),
        kind=cast(VerdictKind | None, row.kind),
        label=row.label,
        sentence=row.sentence,
        slow=row.slow,
        short=row.short,
        on_pace=row.on_pace,
        change_week=None if picture.change is None else picture.change.week,
        change_monday=None if picture.change is None else picture.change.monday,
    )

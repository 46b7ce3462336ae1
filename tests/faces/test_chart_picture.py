"""Tests the SVG of a chart for any series: well-formed, inside its frame, and consistent with the verdict."""

import re
from datetime import date, timedelta
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evidence.queries import ChartedScore
from app.playbook.models import Measure
from app.response.chart import Picture, picture
from app.response.models import VerdictRow
from app.rest.picture import NARROWEST, USUAL, WIDEST, svg
from app.support.dosage import DosageWeek
from app.support.models import Phase, Support

BEGINS = date(2026, 1, 5)
SVG = "{http://www.w3.org/2000/svg}"


def on(week: int, weekday: int = 2) -> date:
    """Returns a day, counted from the week in which the support begins."""
    return BEGINS + timedelta(weeks=week, days=weekday)


def score(day: date, value: float, purpose: str = "progress") -> ChartedScore:
    """Returns a score with these values."""
    return ChartedScore(id=uuid4(), taken_on=day, value=value, purpose=purpose)


def phase(number: int = 1, begins: date = BEGINS, ends: date | None = None, **more: Any) -> Phase:
    """Returns a phase with the baseline 40 and with the goal 70 in week 20, unless `more` has other values for them."""
    plan = {"baseline": 40.0, "goal": 70.0, "goal_on": on(20, 0)} | more
    return Phase(id=uuid4(), number=number, begins_on=begins, ends_on=ends, **plan)


def drawn(
    scores: list[ChartedScore],
    phases: list[Phase] | None = None,
    *,
    name: str = "Oral reading fluency",
    today: date = on(12),
    off: frozenset[date] = frozenset(),
    verdict_fields: dict[str, Any] | None = None,
    sessions: tuple[DosageWeek, ...] = (),
    limits: tuple[float, float] = (0.0, 300.0),
    ends: date | None = None,
    kind: str = "growth",
    direction: str = "up",
    suspended: tuple[date, date] | None = None,
) -> Picture:
    """Returns the chart data of a support with these scores."""
    phases = phases or [phase()]
    away: dict[str, Any] = {"suspended_on": [suspended[0]], "resumed_on": [suspended[1]]} if suspended else {}
    support = Support(id=uuid4(), starts_on=BEGINS, ends_on=ends, school_ids=[], **away)
    measure = Measure(
        id=uuid4(),
        name=name,
        unit="words a minute",
        kind=kind,
        direction=direction,
        lowest=limits[0],
        highest=limits[1],
    )
    verdict = None
    if verdict_fields is not None:
        row = {
            "kind": None,
            "because": [],
            "change_week": None,
            "rate": None,
            "rate_low": None,
            "rate_high": None,
            "sentence": "So it is.",
        } | verdict_fields
        ids = [one.id for one in scores]
        verdict = VerdictRow(id=uuid4(), phase_id=phases[-1].id, score_ids=ids, **row)
    return picture(support, measure, phases, scores, verdict, off=off, sessions=sessions, today=today)


def parsed(document: str) -> ElementTree.Element:
    """Returns the parsed document, which must be well-formed."""
    return ElementTree.fromstring(document)  # noqa: S314  # our own document


def texts(document: str) -> list[str]:
    """Returns every text in the chart."""
    return ["".join(one.itertext()) for one in parsed(document).iter(f"{SVG}text")]


def classed(document: str, tag: str, name: str) -> list[ElementTree.Element]:
    """Returns the elements of a document that have this tag and this class."""
    elements = parsed(document).iter(f"{SVG}{tag}")
    return [one for one in elements if name in one.get("class", "").split()]


def test_a_week_without_a_score_is_marked_and_a_break_is_none() -> None:
    """In a chart, past weeks without a score are marked; weeks of a break and the present week are not."""
    off = frozenset({on(4, 0), on(5, 0)})
    scores = [score(on(week), 40.0 + week) for week in (1, 2, 6, 8)]
    chart = drawn(scores, off=off, today=on(9))
    assert [chart.weeks[week] for week in chart.missed] == [on(3, 0), on(7, 0)]
    assert [(one.after_week, one.weeks) for one in chart.breaks] == [(3, 2)]
    assert [point.week for point in chart.points] == [1, 2, 4, 6]
    assert len(classed(svg(chart), "path", "missed")) == 3  # and one in the legend
    assert len(classed(svg(chart), "rect", "break")) == 2


def test_the_weeks_of_a_suspension_are_not_missed() -> None:
    """The weeks in which a student was suspended are not marked as missed in the chart."""
    scores = [score(on(week), 40.0 + week) for week in (1, 2, 7, 8)]
    chart = drawn(scores, today=on(8, 4), suspended=(on(3, 0), on(6, 0)))
    assert [chart.weeks[week] for week in chart.missed] == [on(6, 0)]


def test_the_aimline_stands_where_the_rule_has_it() -> None:
    """The aimline goes from the baseline in week 0 to the goal, and only instructional weeks are counted.

    Two weeks of a break are left out in this test.
    """
    (stretch,) = drawn([], off=frozenset({on(4, 0), on(5, 0)})).stretches
    assert (stretch.from_week, stretch.goal_week) == (0, 18)
    assert stretch.at(0) == 40.0
    assert stretch.at(18) == 70.0
    assert stretch.rate == pytest.approx(30 / 18)


def test_scores_stand_on_the_side_of_the_aimline_on_which_they_were_judged() -> None:
    """A score is drawn on the same side of the aimline on which the rule has judged it, on any day of the week."""
    chart = drawn([score(on(4, 4), 47.0), score(on(5, 0), 47.0)], today=on(6))
    circles = classed(svg(chart), "circle", "score")[:2]
    assert float(circles[0].get("cy", "")) == float(circles[1].get("cy", ""))
    assert chart.points[0].value > chart.stretches[0].at(chart.points[0].week)
    assert chart.points[1].value < chart.stretches[0].at(chart.points[1].week)


def test_baseline_scores_are_told_from_the_series() -> None:
    """Baseline scores are drawn as hollow circles, and those older than six weeks are left out."""
    before = [score(BEGINS - timedelta(days=days), 40.0, "baseline") for days in (90, 5, 3, 1)]
    chart = drawn([*before, score(on(1), 42.0)])
    assert [point.kind for point in chart.points] == ["baseline"] * 3 + ["score"]
    old = drawn([score(BEGINS - timedelta(days=90), 40.0)])
    assert old.points == []


@pytest.mark.parametrize(("kind", "drawn_line"), [("growth", True), ("count", False), ("percentage", False)])
def test_no_slope_is_drawn_through_a_count(kind: str, drawn_line: bool) -> None:
    """In a chart of counts, no fitted line is drawn, even if an older verdict has a rate."""
    scores = [score(on(week), 50.0) for week in range(1, 8)]
    verdict_fields = {"state": "not_responding", "kind": "never", "rate": 0.2}
    chart = drawn(scores, verdict_fields=verdict_fields, kind=kind)
    assert (chart.fit is not None) is drawn_line
    assert bool(classed(svg(chart), "path", "fit")) is drawn_line
    assert any("rate now" in one for one in texts(svg(chart))) is drawn_line


def test_the_scores_of_a_day_are_one_point_and_screening_is_none() -> None:
    """The progress scores of a day are one point of the chart. Screening scores are not shown, and baseline scores stay
    separate.
    """
    before = [score(BEGINS - timedelta(days=3), value, "baseline") for value in (38.0, 40.0, 45.0)]
    one_day = [score(on(1), value) for value in (50.0, 30.0, 42.0)]
    chart = drawn([*before, *one_day, score(on(2), 90.0, "screening"), score(on(3), 44.0)])
    assert [(point.kind, point.value) for point in chart.points] == [
        *(("baseline", value) for value in (38.0, 40.0, 45.0)),
        *(("score", value) for value in (42.0, 44.0)),
    ]
    assert chart.points[3].score_ids == tuple(one.id for one in one_day)
    assert on(2, 0) in [chart.weeks[week] for week in chart.missed]


def test_the_verdict_is_said_in_a_heading_a_shape_and_a_description() -> None:
    """The chart shows the verdict as a heading and a shape, and describes it for screen readers. It also marks the week
    in which the student's growth changed.
    """
    verdict_fields = {
        "state": "not_responding",
        "kind": "stopped",
        "change_on": on(6, 0),
        "rate": 0.2,
        "sentence": "Six times more.",
    }
    scores = [score(on(week), 40.0 + min(week, 6) * 1.5) for week in range(1, 12)]
    chart = drawn(scores, verdict_fields=verdict_fields)
    document = svg(chart)
    assert chart.change is not None
    assert chart.change.monday == on(6, 0)
    assert "Stopped responding about 16 Feb" in texts(document)
    assert "slowed about 16 Feb" in texts(document)
    assert len(classed(document, "rect", "change")) == 1
    root = parsed(document)
    title, description = (root.find(f"{SVG}{name}") for name in ("title", "desc"))
    assert title is not None
    assert description is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert "Six times more." in (description.text or "")
    assert "Stopped responding about 16 Feb" in (title.text or "")


def test_the_fitted_rate_runs_through_the_scores_since_the_change() -> None:
    """The fitted line has the verdict's rate and goes through the middle of the scores since the change."""
    verdict_fields = {"state": "not_responding", "kind": "stopped", "change_on": on(6, 0), "rate": 0.2}
    scores = [score(on(week), 50.0) for week in range(1, 12)]
    fit = drawn(scores, verdict_fields=verdict_fields).fit
    assert fit is not None
    assert (fit.from_week, fit.to_week, fit.through_week, fit.through_value) == (6, 11, 8.5, 50.0)
    assert fit.at(9.5, fit.rate) - fit.at(8.5, fit.rate) == pytest.approx(0.2)
    assert drawn(scores, verdict_fields={"state": "insufficient_data"}).fit is None
    assert drawn(scores).fit is None


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("insufficient_data", None, "Too few scores to say"),
        ("responding", None, "Responding"),
        ("below_pace", None, "Growing, below pace"),
        ("goal_met", None, "Goal met"),
        ("uncertain", None, "Not clear yet"),
        ("not_responding", "never", "Not responding so far"),
        ("under_delivered", None, "The support was not delivered as planned"),
    ],
)
def test_every_state_has_a_heading_that_fits(state: str, kind: str | None, words: str) -> None:
    """Each state's heading fits the chart; at 320 pixels a shorter one is used, and none is cut off."""
    chart = drawn([score(on(1), 42.0)], verdict_fields={"state": state, "kind": kind, "label": words})
    assert words in texts(svg(chart))
    (heading,) = classed(svg(chart, 320), "text", "title")
    assert "…" not in (heading.text or "")


@pytest.mark.parametrize(
    ("kind", "direction", "label"),
    [("count", "down", "Part of the way to the goal"), ("growth", "down", "Improving, below pace")],
)
def test_no_heading_calls_a_decrease_that_is_meant_growth(kind: str, direction: str, label: str) -> None:
    """The heading of a chart says "Growing" only if the scores are meant to grow.

    It does not say so for a count, and not if the scores are meant to fall.
    """
    verdict_fields = {"state": "below_pace", "label": label}
    chart = drawn([score(on(1), 42.0)], verdict_fields=verdict_fields, kind=kind, direction=direction)
    assert label in texts(svg(chart))
    assert "Growing" not in svg(chart)


@pytest.mark.parametrize(("kind", "words"), [("growth", "slowed about"), ("percentage", "fell back about")])
def test_a_level_that_fell_back_is_not_called_slower(kind: str, words: str) -> None:
    """If growth stops, the chart says that it slowed. If a count or percentage gets worse, the chart says that it fell
    back.
    """
    verdict_fields = {"state": "not_responding", "kind": "stopped", "change_on": on(6, 0)}
    scores = [score(on(week), 50.0) for week in range(1, 12)]
    drawn_texts = texts(svg(drawn(scores, verdict_fields=verdict_fields, kind=kind)))
    assert any(words in one for one in drawn_texts)
    assert ("slowed about" in " ".join(drawn_texts)) is (kind == "growth")


def test_what_more_scores_would_not_mend_is_not_called_too_few() -> None:
    """For a measure without a standard error, the chart does not say that there are too few scores."""
    for code, words in (("no_sem", "Cannot be judged"), ("too_few_scores", "Too few scores to say")):
        verdict_fields = {"state": "insufficient_data", "because": [{"code": code, "values": {}}]}
        assert words in texts(svg(drawn([score(on(week), 42.0) for week in range(9)], verdict_fields=verdict_fields)))


def test_a_theme_is_as_asked() -> None:
    """A chart has the requested theme or, without a request, the theme that its reader prefers."""
    chart = drawn([])
    free, light, dark = svg(chart), svg(chart, theme="light"), svg(chart, theme="dark")
    assert "prefers-color-scheme" in free
    assert "prefers-color-scheme" not in light + dark
    assert light != dark


def test_sessions_are_shown_as_far_as_they_are_known() -> None:
    """Sessions are shown as one box a week, dashed if unknown, and not at all if none was recorded."""
    sessions = DosageWeek(on(1, 0), 3, 2, 1, 90, 60, 45)
    unknown = DosageWeek(on(2, 0), 3, 0, 3, 90, 0, 0)
    assert classed(svg(drawn([], sessions=(unknown,))), "rect", "asked") == []
    boxes = classed(svg(drawn([], sessions=(sessions, unknown))), "rect", "asked")
    assert sum("unknown" in box.get("class", "") for box in boxes) == 2  # and one in the legend
    assert len(boxes) == 3


def test_phases_have_a_line_and_an_aimline_each() -> None:
    """Each phase has its own aimline. A line separates two phases, and the line of scores does not cross it."""
    phases = [phase(ends=on(6, 0)), phase(2, on(6, 0), baseline=49.0, goal=75.0)]
    chart = drawn([score(on(week), 45.0) for week in range(1, 11)], phases)
    document = svg(chart)
    assert len(classed(document, "line", "phase")) == 1
    assert len(classed(document, "path", "aim")) == 3  # and one in the legend
    assert len(classed(document, "path", "trace")) == 8
    assert "phase 2" in texts(document)


SHAPES = ("rect", "circle", "path", "line", "text")


def rich() -> Picture:
    """Returns a chart with every kind of element: two phases, a break, a change, a band, sessions, a missed week."""
    phases = [phase(ends=on(8, 0)), phase(2, on(8, 0), baseline=49.0, goal=75.0)]
    before = [score(BEGINS - timedelta(days=days), 40.0, "baseline") for days in (5, 3, 1)]
    scores = [score(on(week), 40.0 + min(week, 6) * 1.5) for week in (1, 2, 3, 6, 7, 8, 9, 10, 11)]
    verdict_fields = {"state": "not_responding", "kind": "stopped", "change_on": on(9, 0)}
    verdict_fields |= {"rate": 0.2, "rate_low": -0.4, "rate_high": 0.8}
    sessions = (DosageWeek(on(1, 0), 3, 2, 1, 90, 60, 45), DosageWeek(on(2, 0), 3, 0, 3, 90, 0, 0))
    return drawn(
        [*before, *scores],
        phases,
        off=frozenset({on(4, 0), on(5, 0)}),
        verdict_fields=verdict_fields,
        sessions=sessions,
    )


@pytest.mark.parametrize(("theme", "ground"), [(None, "#ffffff"), ("light", "#ffffff"), ("dark", "#12161c")])
def test_a_renderer_without_css_variables_has_every_colour_in_attributes(theme: str | None, ground: str) -> None:
    """A renderer without CSS variables finds every colour in attributes.

    Programs for slides and reports ignore or misread `var()`, and once drew the whole chart black.
    """
    document = svg(rich(), theme=theme)
    shapes = [one for one in parsed(document).iter() if one.tag.removeprefix(SVG) in SHAPES]
    assert shapes[0].get("fill") == ground
    for shape in shapes:
        colours = [colour for name in ("fill", "stroke") if (colour := shape.get(name)) not in (None, "none")]
        assert colours, ElementTree.tostring(shape)
        assert all(re.fullmatch("#[0-9a-f]{6}", colour or "") for colour in colours)
        assert shape.tag != f"{SVG}text" or shape.get("font-size") in ("11px", "12px", "15px")
    lines = [one for one in shapes if one.tag == f"{SVG}path" and "aim" in one.get("class", "").split()]
    assert {one.get("fill") for one in lines} == {"none"}
    assert len({one.get("stroke") or one.get("fill") for one in shapes}) > 6


@pytest.mark.parametrize("theme", [None, "light", "dark"])
def test_css_variables_lie_in_a_block_that_other_renderers_skip(theme: str | None) -> None:
    """CSS variables are in a block that other renderers skip. Outside of it, they would override the colours in
    attributes, and such a renderer would show no colour.
    """
    (style,) = parsed(svg(rich(), theme=theme)).iter(f"{SVG}style")
    css = style.text or ""
    assert css.startswith("@supports (fill:var(--ink))")
    depth = 0
    for position, letter in enumerate(css):
        depth += (letter == "{") - (letter == "}")
        assert depth > 0 or letter == "}" or "{" not in css[:position]
    assert depth == 0
    assert css.count("var(--") > 30


VALUES = st.floats(0, 300, allow_nan=False)
NUMBERS = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "r")


@given(
    scores=st.lists(st.tuples(st.integers(-30, 160), VALUES), max_size=40),
    name=st.text(max_size=80),
    width=st.sampled_from([NARROWEST, 320, USUAL, WIDEST]),
    off=st.frozensets(st.integers(0, 22).map(lambda week: on(week, 0))),
    change=st.integers(0, 25),
    rate=st.none() | st.floats(-50, 50),
    cut=st.none() | st.integers(1, 12),
    ended=st.booleans(),
)
def test_any_series_is_a_picture(
    scores: list[tuple[int, float]],
    name: str,
    width: int,
    off: frozenset[date],
    change: int,
    rate: float | None,
    cut: int | None,
    ended: bool,
) -> None:
    """Any series gives well-formed SVG, with finite numbers only and with everything inside the frame."""
    phases = [phase()] if cut is None else [phase(ends=on(cut, 1)), phase(2, on(cut, 1), baseline=50.0)]
    ends = on(14) if ended else None
    phases[-1].ends_on = ends
    chart = drawn(
        [score(BEGINS + timedelta(days=days), value) for days, value in sorted(scores)],
        phases,
        name=name,
        off=off,
        today=on(22),
        verdict_fields={"state": "not_responding", "kind": "stopped", "change_on": on(change, 0), "rate": rate},
        ends=ends,
    )
    document = svg(chart, width)
    root = parsed(document)
    tall = float(root.get("height", "nan"))
    assert root.get("width") == str(width)
    for one in root.iter():
        for number in (float(one.get(name, "0")) for name in NUMBERS):
            assert -10 <= number <= max(width, tall), ElementTree.tostring(one)
    for one in classed(document, "circle", "score") + classed(document, "circle", "baseline"):
        assert 0 <= float(one.get("cx", "")) <= width


def test_nothing_of_a_text_becomes_markup() -> None:
    """The name of a measure is escaped in the SVG."""
    name = '<script>alert("x")</script> & \x01 <b>'
    document = svg(drawn([], name=name), 1600)
    assert not list(parsed(document).iter(f"{SVG}script"))
    assert any('<script>alert("x")</script> & ' in one for one in texts(document))

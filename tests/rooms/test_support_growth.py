"""Tests the comparison of a student's growth in a support with the norms of the grade and the starting score."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.core.clock import now
from app.core.ids import format_id, new_id
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import school_year_of
from app.playbook.benchmarks.growth import TypicalGrowth, season_of, typical_growth
from app.playbook.benchmarks.rules import Season
from app.playbook.defaults import HASBROUCK_TINDAL, published_benchmarks
from app.playbook.models import Benchmark
from app.response.service import follow_measure, record_scores
from app.support.measures import NewSupportMeasure
from app.support.models import Support
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import done
from tests.rooms.test_support_measures import followed
from tests.rooms.verdict_town import BEGINS, classmates, reader, scores, supported
from tests.sent import statements_sent
from tests.town import Town, lay

FALL, WINTER, SPRING = Season
STATEMENTS = 8
"""The statements of a comparison for one measure, with those of the caller's transaction. Further measures add one."""
QUERY = """query($support: ID!) { supportGrowth(supportId: $support) { beginsOn measures {
    measureId baseline rate rateLow rateHigh grade season percentile typicalRate growthCheck benchmarkIds citation
    requiredRate realisticRate rateCheck } } }"""


def norms(**more: Any) -> list[Benchmark]:
    """Returns the published norms of oral reading that the product contains, as rows with ids."""
    rows = [Benchmark(id=number, **_columns(each)) for number, each in enumerate(published_benchmarks())]
    return [*rows, Benchmark(id=99, **more)] if more else rows


def _columns(each: Any) -> dict[str, Any]:
    names = ("grade", "season", "citation", "p10", "p25", "p50", "p75", "p90", "typical_growth", "realistic_growth")
    return {name: getattr(each, name) for name in names} | {"published": True}


@pytest.mark.parametrize(
    ("grade", "start", "season", "percentile", "rate"),
    [
        ("3", 40.0, FALL, 10, 0.7),
        ("03", 59.0, FALL, 25, 1.0),
        ("03", 83.0, FALL, 50, 0.9),
        ("03", 104.0, FALL, 75, 1.1),
        ("03", 134.0, FALL, 90, 1.0),
        ("01", 16.0, WINTER, 25, 1.1),
        ("05", 64.0, FALL, 10, 1.2),
        ("06", 112.0, FALL, 25, 0.3),
        ("03", 5.0, FALL, 10, 0.7),
        ("03", 79.0, WINTER, 25, 1.0),
        ("03", 63.0, SPRING, 10, 0.7),
    ],
)
def test_the_typical_growth_is_the_printed_one(
    grade: str, start: float, season: Season, percentile: float, rate: float
) -> None:
    """For each published starting score, the typical growth is the average weekly improvement that the norms state.

    Below the lowest published percentile, the typical growth is that of the lowest percentile.
    """
    typical = typical_growth(norms(), [grade], "up", start, season)
    assert typical is not None
    assert (typical.percentile, round(typical.rate + 1e-9, 1)) == (percentile, rate)
    assert typical.citation == HASBROUCK_TINDAL


def test_between_two_percentiles_the_growth_is_between_theirs() -> None:
    """If a starting score lies between two published starting scores, its percentile and its typical growth are
    interpolated.
    """
    typical = typical_growth(norms(), ["03"], "up", 71.0, FALL)
    assert typical is not None
    assert typical.percentile == 37.5
    assert round(typical.rate, 4) == round((32 / 32 + 29 / 32) / 2, 4)


def test_without_percentiles_of_the_season_the_growth_of_the_grade_counts() -> None:
    """In grade 1, the norms begin in winter. A student who starts in fall is compared with the grade, and not with a
    percentile of another season. A grade without norms has no typical growth.
    """
    typical = typical_growth(norms(), ["01"], "up", 5.0, FALL)
    assert typical is not None
    assert (typical.percentile, typical.rate) == (None, 1.9)
    assert typical_growth(norms(), ["08"], "up", 5.0, FALL) is None
    assert typical_growth(norms(), [], "up", 5.0, FALL) is None


def test_a_districts_own_norms_take_precedence_and_may_improve_downwards() -> None:
    """A district's own typical growth takes precedence over published percentiles.

    If lower scores are better, the typical growth is still a positive number, and a lower score has a higher
    percentile.
    """
    own = {"grade": "03", "season": None, "citation": "Ours", "published": False, "typical_growth": 1.4}
    typical = typical_growth(norms(**own), ["03"], "up", 40.0, FALL)
    assert typical is not None
    assert (typical.rate, typical.citation, typical.percentile) == (1.4, "Ours", None)
    seconds = [
        Benchmark(id=number, grade="03", season=season, citation="Ours", published=False, p10=p10, p50=p50)
        for number, (season, p10, p50) in enumerate((("fall", 80.0, 60.0), ("spring", 64.0, 28.0)))
    ]
    down = typical_growth(seconds, ["03"], "down", 70.0, FALL)
    assert isinstance(down, TypicalGrowth)
    assert (down.percentile, down.rate) == (30.0, 0.75)


@pytest.mark.parametrize(
    ("day", "opens_on", "season"),
    [
        (date(2026, 7, 1), {}, FALL),
        (date(2026, 11, 30), {}, FALL),
        (date(2026, 12, 1), {}, WINTER),
        (date(2027, 2, 28), {}, WINTER),
        (date(2027, 3, 1), {}, SPRING),
        (date(2027, 6, 30), {}, SPRING),
        (date(2026, 8, 20), {FALL: date(2026, 9, 8)}, FALL),
        (date(2026, 12, 15), {WINTER: date(2027, 1, 11)}, FALL),
        (date(2027, 1, 11), {WINTER: date(2027, 1, 11)}, WINTER),
        (date(2026, 11, 20), {WINTER: date(2026, 11, 16)}, WINTER),
        (date(2027, 3, 20), {WINTER: date(2027, 1, 11)}, SPRING),
        (date(2027, 3, 20), {SPRING: date(2027, 4, 12)}, WINTER),
        (date(2027, 2, 20), {SPRING: date(2027, 2, 15)}, SPRING),
    ],
)
def test_a_season_begins_with_the_window_of_the_district(day: date, opens_on: dict[Season, date], season: str) -> None:
    """The district's own screening windows decide from when on the norms of a season apply. A season without a window
    begins with its month.
    """
    assert season_of(day, 2027, opens_on) == season


async def growth_of(asks: Caller, support: Support) -> dict[str, Any]:
    """Returns the growth in a support from REST, after comparing it with that of GraphQL."""
    name = format_id("support", support.id)
    answer = await asks.get(f"/v1/supports/{name}/growth")
    assert answer.status_code == 200, answer.text
    rest: dict[str, Any] = answer.json()
    shown = (await asks.post("/graphql", {"query": QUERY, "variables": {"support": name}})).json()
    graphql = shown["data"]["supportGrowth"]
    assert graphql["beginsOn"] == rest["begins_on"]
    for one, other in zip(graphql["measures"], rest["measures"], strict=True):
        same = {"measureId": "measure", "benchmarkIds": "benchmarks"}
        for key, value in one.items():
            snake = same.get(key) or "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
            upper = key in ("season", "growthCheck", "rateCheck") and value is not None
            assert (value.lower() if upper else value) == other[snake], key
    return rest


async def test_growth_is_compared_with_the_grade_and_the_start(app: FastAPI, north: Town) -> None:
    """The API compares a student's growth with what is typical for the grade and the starting score.

    Slow growth is `below`, fast growth is `above`, a few scores near the norm are `within`, and a single score is
    `not_measured`. The same response states whether the goal is realistic.
    """
    asks = caller(app, north)
    await classmates(north, 1)
    for name, values, check in (
        ("amy", reader(7, 14, rate=-1.5), "below"),
        ("ben", reader(8, 14, rate=3.0), "above"),
        ("cy", reader(9, 5, rate=0.7), "within"),
        ("mate0", reader(9, 1), "not_measured"),
    ):
        support = await supported(north, name)
        async with north.unit() as work:
            await record_scores(work, scores(north, name, values))
        shown = await growth_of(asks, support)
        (measure,) = shown["measures"]
        student = (await asks.get(f"/v1/students/{shown['student']}")).json()
        assert shown["student_name"] == f"{student['given_name']} {student['family_name']}"
        assert shown["intervention"] == support.intervention
        assert measure["growth_check"] == check, measure
        assert (measure["season"], measure["percentile"], round(measure["typical_rate"], 2)) == ("fall", 10.0, 0.72)
        assert (measure["baseline"], measure["realistic_rate"]) == (40.0, 1.0)
        assert measure["rate_check"] == "confirmed", "1.5 words a week are more than the norms call realistic"
        assert measure["citation"] == HASBROUCK_TINDAL
        assert len(measure["benchmarks"]) == 2
        if check != "not_measured":
            assert (measure["rate_low"] > 0.72, measure["rate_high"] < 0.72) == (check == "above", check == "below")


async def test_the_windows_of_the_students_school_decide_the_season(app: FastAPI, north: Town) -> None:
    """A phase that begins after the district's winter screening is compared with the norms of winter, even if its month
    is one of fall. Windows of another school, of another year, and cancelled ones do not matter.
    """
    asks = caller(app, north)
    support = await supported(north, "amy")

    async def season() -> str:
        (measure,) = (await growth_of(asks, support))["measures"]
        return str(measure["season"])

    earlier = BEGINS - timedelta(days=6)
    assert (BEGINS.month in range(7, 12), await season()) == (True, "fall")
    async with north.house() as work:
        for school_id, years, state in (
            (north.schools[1], 0, "scheduled"),
            (None, -1, "closed"),
            (None, 0, "cancelled"),
        ):
            await lay(work, _window(north, earlier, school_id, years, state))
    assert await season() == "fall"
    async with north.house() as work:
        await lay(work, _window(north, earlier, north.schools[0], 0, "closed"))
    assert await season() == "winter"


def _window(town: Town, opens_on: date, school_id: UUID | None, years: int, state: str) -> ScreeningWindow:
    """Returns a screening window of winter, so many years after the school year of its first day."""
    return ScreeningWindow(
        district_id=town.district_id,
        id=new_id(),
        season="winter",
        school_year=school_year_of(opens_on) + years,
        school_id=school_id,
        opens_on=opens_on,
        closes_on=opens_on + timedelta(days=5),
        state=state,
        created_at=now(),
        version=1,
    )


async def test_each_measure_and_each_phase_has_its_own_growth(app: FastAPI, north: Town) -> None:
    """Each measure of a support is compared with its own norms. For a measure without norms, the check is `no_norm`.

    A verdict of an earlier phase does not count in the comparison of the present phase.
    """
    asks = caller(app, north)
    support = await followed(north)
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", reader(7, 14, rate=-1.5)))
    orf, maze = (await growth_of(asks, support))["measures"]
    assert (orf["measure_name"], orf["growth_check"]) == ("Oral reading fluency", "below")
    assert (maze["measure_name"], maze["growth_check"], maze["citation"]) == ("Maze comprehension", "no_norm", None)
    benchmark = {"measure": "maze", "grade": "03", "citation": "Ours", "typical_growth": 0.4}
    assert (await asks.post("/v1/benchmarks", {"benchmarks": [benchmark]})).is_success
    maze = (await growth_of(asks, support))["measures"][1]
    assert (maze["growth_check"], maze["typical_rate"], maze["percentile"]) == ("not_measured", 0.4, None)
    await done(
        asks,
        f"supports/{format_id('support', support.id)}/change",
        because="It is not enough.",
        intervention="Another one",
        goal=90.0,
        goal_on=str(BEGINS + timedelta(weeks=40)),
        confirm_rate=True,
    )
    assert (await growth_of(asks, support))["measures"][0]["growth_check"] == "not_measured"


async def test_the_growth_needs_its_permissions_and_the_reach(app: FastAPI, north: Town, south: Town) -> None:
    """A caller who may not see the student gets 404, and a caller without a required permission gets 403."""
    support = await supported(north, "amy")
    path = f"/v1/supports/{format_id('support', support.id)}/growth"
    assert (await caller(app, south).get(path)).status_code == 404
    assert (await caller(app, north, schools=(north.schools[1],)).get(path)).status_code == 404
    for missing in ("support:read", "verdict:read", "playbook:read"):
        assert (await caller(app, north, CLIENT_SCOPES - {missing}).get(path)).status_code == 403


async def test_the_growth_takes_a_pinned_number_of_statements(app: FastAPI, north: Town) -> None:
    """The comparison does not read more for a long series of scores, and the goals of all further measures at once."""
    one, several = await supported(north, "amy"), await followed(north, "ben")
    async with north.unit() as work:
        new = NewSupportMeasure(measure="computation", goal=25.0, baseline=10.0, confirm_rate=True)
        await follow_measure(work, several.id, new)
        await record_scores(work, scores(north, "amy", reader(7, 14)))
    for support, measures, most in ((one, 1, STATEMENTS), (several, 3, STATEMENTS + 1)):
        with statements_sent(app.state.services.engine) as statements:
            answer = await caller(app, north).get(f"/v1/supports/{format_id('support', support.id)}/growth")
        assert len(answer.json()["measures"]) == measures
        assert len(statements) == most, statements

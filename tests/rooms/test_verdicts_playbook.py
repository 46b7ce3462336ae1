"""Tests the rules by which a district judges: they can be previewed, and publishing them raises no alert."""

from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.response.judging.finalize import finalize_district
from app.response.models import FinalizationJob
from app.response.service import record_scores
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.verdict_town import response_events, scores, supported, verdicts
from tests.town import Town

STOPS = [42.0, 44.0, 45.0, 47.0, 48.0, 47.0, 47.0, 46.0, 47.0]
FOUR = {"rules": [{"rule": "four-point"}]}


async def _support_with_stall(town: Town, name: str) -> object:
    """Returns a support for which the four-point rule raises an alarm, and the monitor does not yet."""
    support = await supported(town, name)
    async with town.unit() as work:
        await record_scores(work, scores(town, name, STOPS))
    return support


async def test_a_new_district_states_its_rule_and_its_rate(app: FastAPI, north: Town) -> None:
    """In a new district, supports are judged by the rule `monitor`, with a stated false-alarm rate of .10.

    The playbook states in which cases this rate does not hold.
    """
    answer = await caller(app, north).get("/v1/playbook")
    rule, counts = answer.json()["rules"]
    assert (counts["rule"], counts["measure"]) == ("level-change", "referrals")
    assert (rule["rule"], rule["stated_far"], rule["measure"], rule["school"]) == ("monitor", 0.1, None, None)
    assert "noise" in rule["holds_badly"]


async def test_a_preview_says_who_would_be_flagged_and_saves_nothing(app: FastAPI, north: Town) -> None:
    """A preview saves nothing and contains only supports within the caller's reach."""
    for name in ("amy", "ben", "cy"):
        await _support_with_stall(north, name)
    events_before = await response_events(north)
    assert set(events_before) == {"probe.requested"}, "the monitor raises no alert yet"
    asks = caller(app, north)
    answer = await asks.post("/v1/playbook/preview", FOUR)
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert (preview["judged"], preview["after"]["off_track"], preview["cleared"]) == (3, 3, [])
    assert {one["student"] for one in preview["flagged"]} == {
        ids.format_id("student", row) for row in north.students.values()
    }
    mine = (
        await caller(app, north, CLIENT_SCOPES, act_for="sis:sis:teacher-1").post("/v1/playbook/preview", FOUR)
    ).json()
    assert mine["judged"] == 1
    assert [one["student"] for one in mine["flagged"]] == [ids.format_id("student", north.students["amy"])]
    assert (await asks.get("/v1/playbook")).json()["number"] == 1
    assert await response_events(north) == events_before


async def test_what_is_published_judges_all_and_raises_no_alert(app: FastAPI, north: Town) -> None:
    """Published rules apply at once. The worker judges all series by them, and raises no alert."""
    support = await _support_with_stall(north, "amy")
    events_before = await response_events(north)
    assert events_before == ["probe.requested"], "the monitor raises no alert yet"
    answer = await caller(app, north).post("/v1/playbook", FOUR)
    assert (answer.status_code, answer.json()["number"]) == (201, 2)

    @needs(Can.JUDGE)
    async def due(work: Work) -> None:
        await work.db.execute(
            update(FinalizationJob).where(FinalizationJob.district_id == north.district_id).values(due=now())
        )

    async with north.house() as work:
        await due(work)
    assert await finalize_district(north.worker_engine, north.settings.keyring, north.district_id)
    row = (await verdicts(north, support))[-1]  # type: ignore[arg-type]  # it is a support
    assert (row.rule, row.state) == ("four-point", "off_track")
    assert await response_events(north) == events_before


async def test_a_rule_that_cannot_be_is_refused_with_every_reason(app: FastAPI, north: Town) -> None:
    """Invalid rules are refused with every violation, before anything is judged."""
    wrong = {
        "rules": [
            {"rule": "guess"},
            {"rule": "monitor", "parameters": {"far_percent": 90}},
            {"rule": "monitor", "parameters": {"k": 4}, "measure": "orf"},
            {"rule": "trend", "measure": "nothing"},
            {"rule": "trend", "measure": "maze", "area": "ela"},
        ]
    }
    answer = await caller(app, north).post("/v1/playbook", wrong)
    assert answer.status_code == 422
    assert [one["code"] for one in answer.json()["violations"]] == [
        *("unknown_rule", "parameter_out_of_range", "unknown_parameter", "measure.unknown", "rule.two_scopes")
    ]
    answer = await caller(app, north).post("/v1/playbook", {"rules": [{"rule": "trend"}, {"rule": "median"}]})
    assert [one["code"] for one in answer.json()["violations"]] == ["rule.doubled"]
    answer = await caller(app, north).post(
        "/v1/playbook", {"rules": [{"rule": "monitor", "parameters": {"far_percent": True}}]}
    )
    assert answer.status_code == 422


async def test_who_may_not_publish_does_not(app: FastAPI, north: Town) -> None:
    """A teacher cannot publish the district's rules."""
    answer = await caller(app, north, CLIENT_SCOPES, act_for="sis:sis:teacher-1").post("/v1/playbook", FOUR)
    assert answer.status_code == 403

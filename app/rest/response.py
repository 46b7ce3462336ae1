"""Owns verdicts in REST: shapes and routes, no rule."""

from datetime import date, datetime
from typing import Any, Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.response import models, queries
from app.response.administration import calibration
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Items, Shape, paged, place
from app.rest.route import Route
from app.support import queries as support_queries

router = APIRouter(prefix="/v1", tags=["verdicts"], route_class=Route)
VerdictKind = Literal["never", "stopped"]
VerdictState = Literal[
    "insufficient_data",
    "responding",
    "below_pace",
    "goal_met",
    "uncertain",
    "not_responding",
    "under_delivered",
]


READS = (support_queries.support, queries.verdicts_now)


class Reason(Shape):
    """One reason, as a code with the numbers behind it."""

    code: str
    values: dict[str, Any]


class Verdict(Shape):
    """What a rule says of the running phase. It informs a team; it never decides."""

    id: str
    support: str
    phase: str
    state: VerdictState
    kind: VerdictKind | None
    sentence: str
    because: list[Reason]
    statistic: float | None
    threshold: float | None
    rate: float | None = Field(description="Growth now, in the measure's units a week.")
    rate_low: float | None = Field(description="With `rate_high`: the middle 80 % of what the rate now may be.")
    rate_high: float | None
    odds: float | None = Field(description="How many times likelier slow growth is than growth on pace.")
    required_rate: float = Field(description="The aimline's, in the measure's units a week.")
    change_week: int | None = Field(description="The instructional week about which growth slowed.")
    change_on: date | None = Field(description="The Monday of that week.")
    last_on: date | None = Field(description="Of the last score that it knew.")
    rule: str
    rule_version: int
    parameters: dict[str, Any]
    stated_far: float | None = Field(
        description="The rule's stated false-alarm rate, in a simulation: docs/response.md says where it does not hold."
    )
    calibration: str | None = Field(description="Whose estimates it used; null for the published defaults.")
    sem: float | None = Field(description="The measure's standard error of measurement as it was then.")
    retracts: str | None = Field(description="The verdict whose alert this one takes back.")
    playbook: str
    scores: list[str]
    judged_at: datetime


def verdict_shape(row: models.VerdictRow) -> Verdict:
    """A verdict as REST shows it."""
    return Verdict.model_construct(
        id=ids.show("verdict", row.id),
        support=ids.show("support", row.support_id),
        phase=ids.show("phase", row.phase_id),
        state=cast(VerdictState, row.state),
        kind=cast(VerdictKind | None, row.kind),
        sentence=row.sentence,
        because=[Reason.model_construct(code=one["code"], values=one["values"]) for one in row.because],
        statistic=row.statistic,
        threshold=row.threshold,
        rate=row.rate,
        rate_low=row.rate_low,
        rate_high=row.rate_high,
        odds=row.odds,
        required_rate=row.required_rate,
        change_week=row.change_week,
        change_on=row.change_on,
        last_on=row.last_on,
        rule=row.rule,
        rule_version=row.rule_version,
        parameters=row.parameters,
        stated_far=row.stated_far,
        calibration=ids.show("calibration", row.calibration_id) if row.calibration_id else None,
        sem=row.sem,
        retracts=ids.show("verdict", row.retracts) if row.retracts else None,
        playbook=ids.show("playbook", row.playbook_version_id),
        scores=[ids.show("score", score) for score in row.score_ids],
        judged_at=row.judged_at,
    )


class Calibration(Shape):
    """What was estimated of a measure (in a grade) from the district's own scores. It is never changed."""

    id: str
    number: int = Field(description="One for each run of the job.")
    measure: str
    grade: str | None = Field(description="Null for all grades.")
    made_at: datetime
    series: int
    scores: int
    published_defaults: bool = Field(description="There was too little data, and the published defaults hold.")
    observed: float | None = Field(description="Share of these series that are flagged at a stated rate of .10.")
    expected: float | None = Field(description="The share that the estimated model expects; no true rate is claimed.")
    estimates: dict[str, float]


def calibration_shape(row: models.CalibrationRow) -> Calibration:
    """A calibration as REST shows it."""
    return Calibration.model_construct(
        id=ids.show("calibration", row.id),
        number=row.number,
        measure=ids.show("measure", row.measure_id),
        grade=row.grade,
        made_at=row.made_at,
        series=row.series,
        scores=row.scores,
        published_defaults=row.published,
        **{name: row.report[name] for name in ("observed", "expected", "estimates")},
    )


@router.get("/calibrations", operation_id="list_calibrations", **asks(calibration.calibrations))
async def list_calibrations(
    work: Opened, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Calibration]:
    """What was estimated from the district's own scores, oldest first; verdicts name what they used."""
    page = await calibration.calibrations(work, place(work, "calibrations", {}, after, limit))
    items, then = paged(request, response, page, calibration_shape)
    return Items(items=items, next=then)


@router.get("/supports/{support}/verdict", operation_id="get_verdict_now", **asks(*READS))
async def get_verdict_now(work: Opened, support: str) -> Verdict:
    """The verdict that holds; 404 for a support that was never judged."""
    row = await support_queries.support(work, row_id("support", support))
    return verdict_shape(await queries.verdict_now(work, row.id))


@router.get("/supports/{support}/verdicts", operation_id="list_verdicts", **asks(*READS))
async def list_verdicts(
    work: Opened, request: Request, response: Response, support: str, after: After = None, limit: Limit = None
) -> Items[Verdict]:
    """The history of a support's verdicts, oldest first."""
    row = await support_queries.support(work, row_id("support", support))
    keyset = place(work, "verdicts", {"support": row.id}, after, limit)
    page = await queries.verdicts(work, keyset, row.id)
    items, then = paged(request, response, page, verdict_shape)
    return Items(items=items, next=then)


@router.get("/verdicts/{verdict}", operation_id="get_verdict", **asks(queries.verdict))
async def get_verdict(work: Opened, verdict: str) -> Verdict:
    """One verdict, with all that it rested on."""
    return verdict_shape(await queries.verdict(work, row_id("verdict", verdict)))

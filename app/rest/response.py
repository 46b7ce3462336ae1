"""Verdicts in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Any, Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.response import models, queries
from app.response.administration import calibration
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Items, Shape, page_keyset, to_page
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
    """One reason for a verdict: a stable code with the numbers behind it."""

    code: str
    values: dict[str, Any]


class Verdict(Shape):
    """What a rule concludes about the current phase. It informs a team; it never decides."""

    id: str
    support: str
    phase: str
    state: VerdictState
    kind: VerdictKind | None
    sentence: str
    because: list[Reason]
    statistic: float | None
    threshold: float | None
    rate: float | None = Field(description="The present growth, in the measure's units a week.")
    rate_low: float | None = Field(description="With `rate_high`: the middle 80 % of the plausible values of the rate.")
    rate_high: float | None
    odds: float | None = Field(description="How many times likelier slow growth is than growth on pace.")
    required_rate: float = Field(description="The growth that the aimline requires, in the measure's units a week.")
    change_week: int | None = Field(description="The instructional week about which growth slowed.")
    change_on: date | None = Field(description="The Monday of that week.")
    last_on: date | None = Field(description="The date of the last score that the verdict took into account.")
    rule: str
    rule_version: int
    parameters: dict[str, Any]
    stated_far: float | None = Field(
        description=(
            "The rule's stated false-alarm rate, from a simulation: docs/response.md says where it does not hold."
        )
    )
    calibration: str | None = Field(
        description="The calibration whose estimates the verdict used; null for the published defaults."
    )
    sem: float | None = Field(description="The measure's standard error of measurement at that time.")
    retracts: str | None = Field(description="The verdict whose alert this one retracts.")
    playbook: str
    scores: list[str]
    judged_at: datetime


def verdict_shape(row: models.VerdictRow) -> Verdict:
    """Returns a verdict in REST's shape."""
    return Verdict.model_construct(
        id=ids.format_id("verdict", row.id),
        support=ids.format_id("support", row.support_id),
        phase=ids.format_id("phase", row.phase_id),
        state=cast(VerdictState, row.state),
        kind=cast(VerdictKind | None, row.kind),
        sentence=row.sentence,
        because=[Reason.model_construct(code=reason["code"], values=reason["values"]) for reason in row.because],
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
        calibration=ids.format_id("calibration", row.calibration_id) if row.calibration_id else None,
        sem=row.sem,
        retracts=ids.format_id("verdict", row.retracts) if row.retracts else None,
        playbook=ids.format_id("playbook", row.playbook_version_id),
        scores=[ids.format_id("score", score) for score in row.score_ids],
        judged_at=row.judged_at,
    )


class Calibration(Shape):
    """The estimates for a measure, over all grades or for one, from the district's own scores. They never change."""

    id: str
    number: int = Field(description="The number of the calibration run that made it.")
    measure: str
    grade: str | None = Field(description="Null for all grades.")
    made_at: datetime
    series: int
    scores: int
    published_defaults: bool = Field(
        description="Whether there was too little data, so that the published defaults apply."
    )
    observed: float | None = Field(description="The share of these series that are flagged at a stated rate of .10.")
    expected: float | None = Field(description="The share that the estimated model expects; no true rate is claimed.")
    estimates: dict[str, float]


def calibration_shape(row: models.CalibrationRow) -> Calibration:
    """Returns a calibration in REST's shape."""
    return Calibration.model_construct(
        id=ids.format_id("calibration", row.id),
        number=row.number,
        measure=ids.format_id("measure", row.measure_id),
        grade=row.grade,
        made_at=row.made_at,
        series=row.series,
        scores=row.scores,
        published_defaults=row.published,
        **{name: row.report[name] for name in ("observed", "expected", "estimates")},
    )


@router.get("/calibrations", operation_id="list_calibrations", **requires(calibration.calibrations))
async def list_calibrations(
    work: OpenWork, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Calibration]:
    """Lists the calibrations from the district's own scores, oldest first; a verdict names the one that it used."""
    page = await calibration.calibrations(work, page_keyset(work, "calibrations", {}, after, limit))
    items, next_cursor = to_page(request, response, page, calibration_shape)
    return Items(items=items, next=next_cursor)


@router.get("/supports/{support}/verdict", operation_id="get_verdict_now", **requires(*READS))
async def get_verdict_now(work: OpenWork, support: str) -> Verdict:
    """Returns the current verdict of a support; 404 if the support was never judged."""
    row = await support_queries.support(work, row_id("support", support))
    return verdict_shape(await queries.verdict_now(work, row.id))


@router.get("/supports/{support}/verdicts", operation_id="list_verdicts", **requires(*READS))
async def list_verdicts(
    work: OpenWork, request: Request, response: Response, support: str, after: After = None, limit: Limit = None
) -> Items[Verdict]:
    """Lists the verdicts of a support, oldest first."""
    row = await support_queries.support(work, row_id("support", support))
    keyset = page_keyset(work, "verdicts", {"support": row.id}, after, limit)
    page = await queries.verdicts(work, keyset, row.id)
    items, next_cursor = to_page(request, response, page, verdict_shape)
    return Items(items=items, next=next_cursor)


@router.get("/verdicts/{verdict}", operation_id="get_verdict", **requires(queries.verdict))
async def get_verdict(work: OpenWork, verdict: str) -> Verdict:
    """Returns one verdict, with everything that it depends on."""
    return verdict_shape(await queries.verdict(work, row_id("verdict", verdict)))

"""Owns verdicts in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Any, Literal, cast

from fastapi import APIRouter, Request, Response

from app.core import ids
from app.response import models, queries
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Items, Shape, paged, place
from app.support import queries as support_queries

router = APIRouter(prefix="/v1", tags=["verdicts"])
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
    rate: float | None
    required_rate: float
    change_week: int | None
    rule: str
    rule_version: int
    parameters: dict[str, Any]
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
        required_rate=row.required_rate,
        change_week=row.change_week,
        rule=row.rule,
        rule_version=row.rule_version,
        parameters=row.parameters,
        playbook=ids.show("playbook", row.playbook_version_id),
        scores=[ids.show("score", score) for score in row.score_ids],
        judged_at=row.judged_at,
    )


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

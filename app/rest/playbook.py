"""Serves the playbook's decision rules in REST, with the commands that preview and publish them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.core import ids
from app.playbook import models
from app.response.administration import playbook
from app.response.administration.playbook import NewRule, RuleInForce, shown_school
from app.rest.door import OpenWork, requires
from app.rest.pages import Input, Shape
from app.rest.route import Route
from app.rest.values import Count

router = APIRouter(prefix="/v1", tags=["playbook"], route_class=Route)


Parameters = Annotated[dict[str, Count], Field(max_length=10)]


class RuleInput(Input):
    """A decision rule with the scores that it judges: those of a measure, of an area and its subareas, or all others.

    It applies in one school or in the whole district.
    """

    rule: str = Field(max_length=50)
    parameters: Parameters = Field(
        default={}, description="Parameters as whole numbers; those that are left out have their defaults."
    )
    measure: str | None = Field(default=None, description="A code or an id.")
    area: str | None = Field(default=None, description="A code or an id.")
    school: str | None = Field(default=None, description="An id or an external id; null for the whole district.")


class RulesToPreview(Input):
    """All rules of a possible next version of the playbook."""

    rules: list[RuleInput] = Field(min_length=1, max_length=500)


class RulesToPublish(RulesToPreview):
    """All rules of the next version. If there is no general rule among them, the general rule in force is kept."""

    alert: bool = Field(default=False, strict=True, description="Whether the results of the new rules raise alerts.")


class StandingRule(Shape):
    """A decision rule in force: the scores that it judges, and its parameters."""

    rule: str
    parameters: dict[str, int]
    measure: str | None = Field(description="A code.")
    area: str | None = Field(description="A code.")
    school: str | None
    stated_far: float | None = Field(
        description=(
            "The share of responders ever flagged in the simulated year of docs/response.md; null: not measured."
        )
    )
    holds_badly: str | None = Field(description="The conditions in which that rate is known not to hold.")


class Playbook(Shape):
    """The published version of the playbook. It never changes; each change publishes the next version."""

    id: str
    number: int
    published_at: datetime
    rules: list[StandingRule]


class Turned(Shape):
    """A support whose state the new rules would change, with its state by the old and by the new rules."""

    support: str
    student: str
    before: str
    after: str


class RulesPreview(Shape):
    """A comparison of the verdicts by the new rules with those by the rules in force.

    It covers the active supports that the caller may see.
    """

    judged: int
    before: dict[str, int] = Field(description="How many supports are in each state.")
    after: dict[str, int]
    flagged: list[Turned] = Field(description="Supports that would newly be judged not to respond; 1000 at most.")
    cleared: list[Turned] = Field(description="Supports that would no longer be judged not to respond; 1000 at most.")


@router.get("/playbook", operation_id="get_playbook", **requires(playbook.rules_in_force))
async def get_playbook(work: OpenWork) -> Playbook:
    """Returns the rules in force: the series that each judges, its parameters, and its stated false-alarm rate."""
    return _playbook(*await playbook.rules_in_force(work))


@router.post("/playbook/preview", operation_id="preview_playbook", **requires(playbook.preview_rules))
async def preview_playbook(work: OpenWork, proposal: RulesToPreview) -> RulesPreview:
    """Returns which supports these rules would newly flag, and which they would no longer flag. Nothing is saved."""
    preview = await playbook.preview_rules(work, _rules(proposal))
    return RulesPreview(
        judged=preview.judged,
        before=preview.before,
        after=preview.after,
        flagged=[_turned(turn) for turn in preview.flagged],
        cleared=[_turned(turn) for turn in preview.cleared],
    )


@router.post("/playbook", status_code=201, operation_id="publish_playbook", **requires(playbook.publish_rules))
async def publish_playbook(work: OpenWork, proposal: RulesToPublish) -> Playbook:
    """Publishes the next version, and judges all series by its rules.

    The results raise alerts only if `alert` is true.
    """
    await playbook.publish_rules(work, _rules(proposal), alert=proposal.alert)
    return _playbook(*await playbook.published_rules(work))


def _rules(proposal: RulesToPreview) -> list[NewRule]:
    return [NewRule(**rule.model_dump()) for rule in proposal.rules]


def _playbook(version: models.PlaybookVersion, rules: list[RuleInForce]) -> Playbook:
    return Playbook(
        id=ids.format_id("playbook", version.id),
        number=version.number,
        published_at=version.published_at,
        rules=[
            StandingRule(
                rule=active.entry.rule,
                parameters=dict(active.entry.parameters),
                measure=active.entry.measure,
                area=active.entry.area,
                school=shown_school(active.entry),
                stated_far=active.stated_far,
                holds_badly=active.holds_badly,
            )
            for active in rules
        ],
    )


def _turned(turn: playbook.StateChange) -> Turned:
    return Turned(
        support=ids.format_id("support", turn.support_id),
        student=ids.format_id("student", turn.student_id),
        before=turn.before,
        after=turn.after,
    )

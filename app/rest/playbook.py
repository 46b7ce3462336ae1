"""Owns areas, levels and the rules that judge in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BeforeValidator, Field

from app.core import ids
from app.playbook import models, queries
from app.response.administration import playbook
from app.response.administration.playbook import NewRule, RuleInForce, shown_school
from app.rest.door import Opened, asks
from app.rest.evidence import a_number
from app.rest.pages import Input, Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["playbook"], route_class=Route)


class Area(Shape):
    """An area of concern; its code stands wherever its id does. A secured one needs the scope area:<code>."""

    id: str
    code: str
    name: str
    parent: str | None
    secured: bool


class Level(Shape):
    """A level of support (of the support, not of the child)."""

    id: str
    rank: int
    name: str


Parameters = Annotated[dict[str, Annotated[int, BeforeValidator(a_number)]], Field(max_length=10)]


class RuleInput(Input):
    """A rule for a measure, for an area with those below it, or, with neither, for the rest; in a school or all."""

    rule: str = Field(max_length=50)
    parameters: Parameters = Field(default={}, description="Whole numbers; what is left out has its default.")
    measure: str | None = Field(default=None, description="A code or an id.")
    area: str | None = Field(default=None, description="A code or an id.")
    school: str | None = Field(default=None, description="An id or an external id; none for the whole district.")


class RulesToPreview(Input):
    """All rules of the version that might be published."""

    rules: list[RuleInput] = Field(min_length=1, max_length=500)


class RulesToPublish(RulesToPreview):
    """All rules of the next version; without one for the rest, the one in force stays."""

    alert: bool = Field(default=False, strict=True, description="Whether what the new rules find raises alerts.")


class StandingRule(Shape):
    """A rule in force."""

    rule: str
    parameters: dict[str, int]
    measure: str | None = Field(description="A code.")
    area: str | None = Field(description="A code.")
    school: str | None
    stated_far: float | None = Field(
        description="Share of responders ever flagged in the simulated year of docs/response.md; null: not measured."
    )
    holds_badly: str | None = Field(description="Where that rate is known not to hold.")


class Playbook(Shape):
    """The published version. It is never changed: a change publishes the next."""

    id: str
    number: int
    published_at: datetime
    rules: list[StandingRule]


class Turned(Shape):
    """A support whose state the new rules would change."""

    support: str
    student: str
    before: str
    after: str


class RulesPreview(Shape):
    """What the new rules would say today of the active supports within the caller's reach, beside those in force."""

    judged: int
    before: dict[str, int] = Field(description="How many supports are in each state.")
    after: dict[str, int]
    flagged: list[Turned] = Field(description="Would newly be said not to respond; 1000 at most.")
    cleared: list[Turned] = Field(description="Would no longer be; 1000 at most.")


class AreaList(Shape):
    """All areas."""

    items: list[Area]


class LevelList(Shape):
    """All levels."""

    items: list[Level]


@router.get("/areas", operation_id="list_areas", **asks(queries.areas))
async def list_areas(work: Opened) -> AreaList:
    """The district's areas, by code."""
    return AreaList(items=[_area(row) for row in await queries.areas(work)])


@router.get("/levels", operation_id="list_levels", **asks(queries.levels))
async def list_levels(work: Opened) -> LevelList:
    """The district's levels of support, by rank."""
    rows = await queries.levels(work)
    return LevelList(items=[Level(id=ids.show("level", row.id), rank=row.rank, name=row.name) for row in rows])


@router.get("/playbook", operation_id="get_playbook", **asks(playbook.rules_in_force))
async def get_playbook(work: Opened) -> Playbook:
    """The rules in force: which judges what, with which parameters, and its stated false-alarm rate."""
    return _playbook(*await playbook.rules_in_force(work))


@router.post("/playbook/preview", operation_id="preview_playbook", **asks(playbook.preview_rules))
async def preview_playbook(work: Opened, wanted: RulesToPreview) -> RulesPreview:
    """Who would be flagged by these rules, and who no longer, before they are published. Nothing is saved."""
    found = await playbook.preview_rules(work, _rules(wanted))
    return RulesPreview(
        judged=found.judged,
        before=found.before,
        after=found.after,
        flagged=[_turned(turn) for turn in found.flagged],
        cleared=[_turned(turn) for turn in found.cleared],
    )


@router.post("/playbook", status_code=201, operation_id="publish_playbook", **asks(playbook.publish_rules))
async def publish_playbook(work: Opened, wanted: RulesToPublish) -> Playbook:
    """Publishes the next version. Every series is judged by it shortly; that raises alerts only if asked to."""
    await playbook.publish_rules(work, _rules(wanted), alert=wanted.alert)
    return _playbook(*await playbook.rules_in_force(work))


def _rules(wanted: RulesToPreview) -> list[NewRule]:
    return [NewRule(**one.model_dump()) for one in wanted.rules]


def _playbook(version: models.PlaybookVersion, rules: list[RuleInForce]) -> Playbook:
    return Playbook(
        id=ids.show("playbook", version.id),
        number=version.number,
        published_at=version.published_at,
        rules=[
            StandingRule(
                rule=one.entry.rule,
                parameters=dict(one.entry.parameters),
                measure=one.entry.measure,
                area=one.entry.area,
                school=shown_school(one.entry),
                stated_far=one.stated_far,
                holds_badly=one.holds_badly,
            )
            for one in rules
        ],
    )


def _turned(turn: playbook.StateChange) -> Turned:
    return Turned(
        support=ids.show("support", turn.support_id),
        student=ids.show("student", turn.student_id),
        before=turn.before,
        after=turn.after,
    )


def _area(row: models.Area) -> Area:
    return Area(
        id=ids.show("area", row.id),
        code=row.code,
        name=row.name,
        parent=ids.show("area", row.parent_id) if row.parent_id else None,
        secured=row.secured,
    )

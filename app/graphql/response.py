"""The shapes of verdicts. It contains no rules, and compares nobody."""

from datetime import date, datetime
from typing import Any

import strawberry

from app.graphql.door import Info, guarded_field
from app.graphql.node import Node, parse_id, show_id, show_optional_id
from app.response import models, queries
from app.response.rules.verdict import NonresponseKind, State

strawberry.enum(State, name="VerdictState", description="What a rule concludes about a series.")
strawberry.enum(NonresponseKind, name="VerdictKind", description="How a student does not respond: never, or no longer.")


@strawberry.type(description="A named number.")
class Figure:
    """A number of a reason or a rule, with its name."""

    name: str
    value: float

    @classmethod
    def each(cls, values: dict[str, Any]) -> list["Figure"]:
        """Returns the numbers of a JSON object, in its order."""
        return [cls(name=name, value=value) for name, value in values.items()]


@strawberry.type(description="One reason behind a verdict: a stable code and the numbers that it rests on.")
class Reason:
    """A reason."""

    code: str
    values: list[Figure]


@strawberry.type(description="What a rule concludes about a phase's series. It informs a team; it never decides.")
class Verdict(Node):
    """A verdict with everything that it depends on."""

    support_id: strawberry.ID
    phase_id: strawberry.ID
    number: int
    state: State
    kind: NonresponseKind | None = strawberry.field(description="Only with `NOT_RESPONDING`.")
    because: list[Reason]
    sentence: str = strawberry.field(description="One sentence for a teacher, made from the numbers.")
    statistic: float | None = strawberry.field(description="The rule's own statistic.")
    threshold: float | None = strawberry.field(description="The rule's own threshold.")
    rate: float | None = strawberry.field(description="The growth, in the measure's units a week.")
    rate_low: float | None = strawberry.field(
        description="With `rateHigh`: the middle 80 % of the plausible values of the rate."
    )
    rate_high: float | None
    odds: float | None = strawberry.field(description="How many times likelier slow growth is than growth on pace.")
    required_rate: float = strawberry.field(
        description="The growth that the aimline requires, in the measure's units a week."
    )
    change_week: int | None = strawberry.field(description="The instructional week about which growth slowed.")
    change_on: date | None = strawberry.field(description="The Monday of that week.")
    last_on: date | None = strawberry.field(
        description="The date of the last score that the verdict took into account."
    )
    stated_far: float | None = strawberry.field(description="The rule's stated false-alarm rate, from a simulation.")
    calibration_id: strawberry.ID | None = strawberry.field(
        description="The calibration whose estimates the verdict used; null for the published defaults."
    )
    sem: float | None = strawberry.field(description="The measure's standard error of measurement at that time.")
    retracts_id: strawberry.ID | None = strawberry.field(description="The verdict whose alert this one retracts.")
    rule: str
    rule_version: int
    parameters: list[Figure]
    score_ids: list[strawberry.ID]
    playbook_id: strawberry.ID
    judged_at: datetime

    @classmethod
    def of(cls, row: models.VerdictRow) -> "Verdict":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("verdict", row.id),
            support_id=show_id("support", row.support_id),
            phase_id=show_id("phase", row.phase_id),
            number=row.number,
            state=State(row.state),
            kind=None if row.kind is None else NonresponseKind(row.kind),
            because=[Reason(code=reason["code"], values=Figure.each(reason["values"])) for reason in row.because],
            sentence=row.sentence,
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
            stated_far=row.stated_far,
            calibration_id=show_optional_id("calibration", row.calibration_id),
            sem=row.sem,
            retracts_id=show_optional_id("verdict", row.retracts),
            rule=row.rule,
            rule_version=row.rule_version,
            parameters=Figure.each(row.parameters),
            score_ids=[show_id("score", score) for score in row.score_ids],
            playbook_id=show_id("playbook", row.playbook_version_id),
            judged_at=row.judged_at,
        )


@strawberry.type
class ResponseQueries:
    """The queries of verdicts."""

    @guarded_field("One verdict.", queries.verdict)
    async def verdict(self, info: Info, id: strawberry.ID) -> Verdict | None:
        verdict_id = parse_id("verdict", id)
        row = None if verdict_id is None else await info.context.read_or_none(queries.verdict, verdict_id)
        return None if row is None else Verdict.of(row)

"""Owns how a district's rules are changed: what may stand in them, who would be flagged, and that all is judged anew.

The playbook keeps the rules; whether there is such a rule, and with such parameters, is known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.errors import AimlineError, Invalid, Violation
from app.playbook import service as playbook
from app.playbook.lookup import locate_area, locate_measure, published
from app.playbook.models import PlaybookVersion
from app.playbook.queries import rulebook
from app.playbook.rules import REST, Entry, entry_of, stored
from app.response.judging import finalize
from app.response.judging.calibrated import calibrations
from app.response.judging.cohort import judge_series
from app.response.judging.load import SeriesSelection, load
from app.response.rules.choose import RULES, UnusableRule
from app.response.rules.field.counts import misfit
from app.response.rules.rates import HOLDS_BADLY, stated_far
from app.response.rules.verdict import State
from app.roster.lookup import find_row as find_row
from app.roster.lookup import within_reach
from app.roster.models import Org
from app.roster.references import parse
from app.support.models import Support

MOST_RULES, MOST_SHOWN = 500, 1000


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule as a district asks for it: for a measure, an area with those below it, or the rest; in a school or all."""

    rule: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    measure: str | None = None
    area: str | None = None
    school: str | None = None


@dataclass(frozen=True, slots=True)
class RuleInForce:
    """A rule of the published version, with what it is known to do."""

    entry: Entry
    stated_far: float | None
    holds_badly: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A support whose state the new rules would change."""

    support_id: UUID
    student_id: UUID
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What the new rules would say today of the active supports within the caller's reach, beside those in force."""

    judged: int
    before: dict[str, int]
    after: dict[str, int]
    turns: list[Turn]

    @property
    def flagged(self) -> list[Turn]:
        """Those who would newly be said not to respond."""
        return [turn for turn in self.turns if turn.after == State.NOT_RESPONDING][:MOST_SHOWN]

    @property
    def cleared(self) -> list[Turn]:
        """Those who would no longer be."""
        return [turn for turn in self.turns if turn.before == State.NOT_RESPONDING][:MOST_SHOWN]


@needs(Can.READ_PLAYBOOK)
async def rules_in_force(work: Work) -> tuple[PlaybookVersion, list[RuleInForce]]:
    """The version in force and its rules, each with its stated false-alarm rate."""
    version = await published(work)
    return version, [_standing(entry_of(key, chosen)) for key, chosen in version.rules.items()]


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_rules(work: Work, rules: Sequence[NewRule], *, alert: bool = False) -> PlaybookVersion:
    """Publishes the next version. All series are judged by it shortly; it raises alerts only if asked to.

    Raises `Invalid` with everything that is wrong. Without a rule for the rest, the one in force stays.
    """
    version = await playbook.publish_rules(work, await _checked(work, rules))
    async with work.as_district("publishing"):
        await finalize.schedule_rules(work, quiet=not alert)
    return version


@needs(Can.READ_PLAYBOOK, Can.READ_SUPPORTS, Can.READ_VERDICTS)
async def preview_rules(work: Work, rules: Sequence[NewRule]) -> Preview:
    """Who would be flagged by these rules, and who no longer; nothing is saved. Raises `Invalid`."""
    wanted = await _checked(work, rules)
    reached = await work.db.scalars(
        select(Support.id).where(
            Support.district_id == work.district_id,
            Support.state == "active",
            within_reach(work, Support.student_id),
        )
    )
    visible = set(reached)
    async with work.as_district("previewing"):
        turns, before, after = await _compare(work, wanted, visible)
    work.disclose("verdict", (turn.student_id for turn in turns))
    return Preview(len(visible), before, after, turns)


@needs(Can.JUDGE)
async def _compare(
    work: Work, wanted: dict[str, Any], visible: set[UUID]
) -> tuple[list[Turn], dict[str, int], dict[str, int]]:
    then = await rulebook(work, wanted)
    loaded = await load(work, SeriesSelection(lock=False), await rulebook(work))
    series = list(loaded.wanted.values())
    known = await calibrations(work, {one.line.measure.id for one in series})
    shown = [one for one in series if one.support.id in visible]
    beside = loaded.others(visible)
    now_says = judge_series(shown, beside, known)
    turned = [
        replace(one, chosen=then.rule_for(one.line.measure.code, one.support.area_id, one.support.school_ids))
        for one in shown
    ]
    then_says = judge_series(turned, beside, known)
    before, after = dict.fromkeys(map(str, State), 0), dict.fromkeys(map(str, State), 0)
    turns = []
    for one in shown:
        was, will = now_says[one.support.id].verdict.state.value, then_says[one.support.id].verdict.state.value
        before[was] += 1
        after[will] += 1
        if was != will:
            turns.append(Turn(one.support.id, one.support.student_id, was, will))
    return turns, before, after


async def _checked(work: Work, rules: Sequence[NewRule]) -> dict[str, Any]:
    """The rules as a version keeps them."""
    if not 1 <= len(rules) <= MOST_RULES:
        raise Invalid([Violation("/rules", "rules.count", f"Name 1 to {MOST_RULES} rules.")])
    violations: list[Violation] = []
    entries: list[Entry] = []
    for place, new in enumerate(rules):
        entry, wrong = await _entry(work, new, f"/rules/{place}")
        violations += wrong
        if not wrong and entry.key in {one.key for one in entries}:
            detail = "Another rule of this list is for the same measure or area and school."
            violations.append(Violation(f"/rules/{place}", "rule.doubled", detail))
        entries.append(entry)
    if violations:
        raise Invalid(violations)
    kept = stored(entries)
    if REST not in kept:
        kept[REST] = (await published(work)).rules[REST]
    return kept


async def _entry(work: Work, new: NewRule, at: str) -> tuple[Entry, list[Violation]]:
    violations = _unfit(new, at)
    measure = area = None
    school: UUID | None = None
    try:
        if new.measure is not None:
            located = await locate_measure(work, new.measure, f"{at}/measure")
            measure, wrong = located.code, misfit(new.rule, located.kind) if new.rule in RULES else None
            if wrong is not None:
                violations.append(Violation(f"{at}/rule", "rule_misfit", wrong))
        if new.area is not None:
            area = (await locate_area(work, new.area, f"{at}/area")).code
        if new.school is not None:
            reference = parse("org", new.school, f"{at}/school")
            school = (await find_row(work, Org, reference, f"{at}/school", Org.type == "school")).id
    except Invalid as error:
        violations += error.violations
    except AimlineError as error:
        violations.append(Violation(at, error.code, error.detail))
    return Entry(new.rule, dict(new.parameters), measure, area, school), violations


def _unfit(new: NewRule, at: str) -> list[Violation]:
    found = []
    if new.measure is not None and new.area is not None:
        detail = "A rule is for a measure or for an area: name one of them."
        found.append(Violation(f"{at}/area", "rule.two_scopes", detail))
    rule = RULES.get(new.rule)
    if rule is None:
        detail = f"Choose one of the rules {', '.join(RULES)}."
        return [*found, Violation(f"{at}/rule", "unknown_rule", detail)]
    try:
        rule.settle(new.parameters)
    except UnusableRule as error:
        found.append(Violation(f"{at}/parameters", error.code, error.sentence))
    return found


def _standing(entry: Entry) -> RuleInForce:
    rule = RULES.get(entry.rule)
    if rule is None:
        return RuleInForce(entry, None, None)
    settled = rule.settle(entry.parameters)
    return RuleInForce(entry, stated_far(rule.name, settled, rule.defaults), HOLDS_BADLY.get(rule.name))


def shown_school(entry: Entry) -> str | None:
    """The school's id as faces show it."""
    return ids.show("org", entry.school) if entry.school else None

"""Changes a district's decision rules: validates the new rules, previews their effect, and has all series judged again.

The playbook only stores rules. This module knows which rules exist and which parameters each rule takes.
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
from app.playbook.queries import Rulebook, rulebook
from app.playbook.rules import REST, Entry, entry_of, stored
from app.response.judging import finalize
from app.response.judging.cohort import Judgement, judge_series
from app.response.judging.load import LoadedSeries, SeriesSelection, compute, first_school, load
from app.response.judging.series import MonitoredSeries
from app.response.rules.choose import RULES, explain_misfit
from app.response.rules.rule import UnusableRule
from app.response.rules.verdict import ALARMS, MOST_SERIOUS_FIRST, State
from app.roster.lookup import find_row as find_row
from app.roster.lookup import within_reach
from app.roster.models import Org
from app.roster.references import parse
from app.support.models import Support

MAX_RULES, MAX_SHOWN = 500, 1000


@dataclass(frozen=True, slots=True)
class NewRule:
    """A decision rule in the input of `publish_rules`, with the score series to which it applies.

    It applies to one measure, to an area with the areas below it, or to every series without a more specific rule; in
    one school if `school` is given, otherwise in the whole district.
    """

    rule: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    measure: str | None = None
    area: str | None = None
    school: str | None = None


@dataclass(frozen=True, slots=True)
class RuleInForce:
    """A rule of the version in force, with its stated false-alarm rate.

    `holds_badly` describes the cases in which this rate is not correct.
    """

    entry: Entry
    stated_far: float | None
    holds_badly: str | None


@dataclass(frozen=True, slots=True)
class StateChange:
    """A support whose state would change under the new rules, with the state before and after."""

    support_id: UUID
    student_id: UUID
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect that new rules would have on the states of the active supports that the caller may see.

    `before` and `after` are the numbers of supports by state.
    """

    judged: int
    before: dict[str, int]
    after: dict[str, int]
    changes: list[StateChange]

    @property
    def flagged(self) -> list[StateChange]:
        """Returns the supports that would get an alarm under the new rules, at most MAX_SHOWN of them."""
        return [change for change in self.changes if change.before not in ALARMS and change.after in ALARMS][:MAX_SHOWN]

    @property
    def cleared(self) -> list[StateChange]:
        """Returns at most MAX_SHOWN of the supports that would change from an alarm to another state."""
        return [change for change in self.changes if change.before in ALARMS and change.after not in ALARMS][:MAX_SHOWN]


@needs(Can.READ_PLAYBOOK)
async def rules_in_force(work: Work) -> tuple[PlaybookVersion, list[RuleInForce]]:
    """Returns the playbook version in force, and its rules. Each rule has its stated false-alarm rate."""
    return await _load_rules(work)


@needs(Can.PUBLISH_PLAYBOOK)
async def published_rules(work: Work) -> tuple[PlaybookVersion, list[RuleInForce]]:
    """Returns the version in force and its rules, for a caller who has just published this version.

    The caller needs the permission to publish rules, and not the permission to read them.
    """
    return await _load_rules(work)


async def _load_rules(work: Work) -> tuple[PlaybookVersion, list[RuleInForce]]:
    version = await published(work)
    return version, [_rule_in_force(entry_of(key, chosen)) for key, chosen in version.rules.items()]


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_rules(work: Work, rules: Sequence[NewRule], *, alert: bool = False) -> PlaybookVersion:
    """Publishes the next version of the playbook with these rules. A worker then judges all series again.

    With `alert`, the judging may raise alerts. The general rule applies to all series without a more specific rule. If
    `rules` has no general rule, the current general rule is kept. Raises `Invalid` with every violation.
    """
    version = await playbook.publish_rules(work, await _validate(work, rules))
    async with work.as_district("publishing"):
        await finalize.schedule_rules(work, quiet=not alert)
    return version


@needs(Can.READ_PLAYBOOK, Can.READ_SUPPORTS, Can.READ_VERDICTS)
async def preview_rules(work: Work, rules: Sequence[NewRule]) -> Preview:
    """Returns the effect that these rules would have on the active supports. Saves nothing. Raises `Invalid`."""
    stored_rules = await _validate(work, rules)
    rows = await work.db.execute(
        select(Support.id, Support.measure_id, first_school(), Support.more_measures).where(
            Support.district_id == work.district_id,
            Support.state == "active",
            within_reach(work, Support.student_id),
        )
    )
    visible: set[UUID] = set()
    groups: set[tuple[UUID, UUID]] = set()
    for support_id, measure_id, school_id, more_measures in rows:
        visible.add(support_id)
        if measure_id is not None:
            groups.update((each, school_id) for each in (measure_id, *more_measures))
    async with work.as_district("previewing"):
        states = await _compare(work, stored_rules, visible, groups)
    before, after = dict.fromkeys(map(str, State), 0), dict.fromkeys(map(str, State), 0)
    changes = []
    for support_id, (student_id, state_before, state_after) in states.items():
        before[state_before] += 1
        after[state_after] += 1
        if state_before != state_after:
            changes.append(StateChange(support_id, student_id, state_before.value, state_after.value))
    work.disclose("verdict", (change.student_id for change in changes))
    return Preview(len(visible), before, after, changes)


Compared = tuple[UUID, State, State]
"""The student of a support, and the support's states by the rules in force and by new rules."""


@needs(Can.JUDGE)
async def _compare(
    work: Work, stored_rules: dict[str, Any], visible: set[UUID], groups: set[tuple[UUID, UUID]]
) -> dict[UUID, Compared]:
    """Returns the states of the supports in `visible` under the present and under the new rules, keyed by support.

    `groups` has pairs of a measure and a school: each measure of these supports, with the first school of the support.
    One group is judged after the other, because all series of a district would need much memory at once.
    """
    new_rulebook = await rulebook(work, stored_rules)
    states: dict[UUID, Compared] = {}
    for measure_id, school_id in sorted(groups):
        loaded = await load(work, SeriesSelection(measure_id=measure_id, school_id=school_id, lock=False))
        compared = await compute(loaded.size, _compare_loaded, loaded, new_rulebook, visible)
        for support_id, state in compared.items():
            # The state of a support is the most serious state of its measures.
            student_id, before, after = states.get(support_id, state)
            before, after = (
                min(pair, key=MOST_SERIOUS_FIRST.index) for pair in ((before, state[1]), (after, state[2]))
            )
            states[support_id] = student_id, before, after
    return states


def _compare_loaded(loaded: LoadedSeries, new_rulebook: Rulebook, visible: set[UUID]) -> dict[UUID, Compared]:
    """Judges the loaded series of visible supports by the rules in force and by new rules. Pure."""
    series, calibrated = list(loaded.requested.values()), loaded.calibrated
    visible_series = [monitored for monitored in series if monitored.support.id in visible]
    others = loaded.others({monitored.score_series.series_id for monitored in visible_series})
    current = judge_series(visible_series, others, calibrated)
    with_new_rules = [
        replace(
            monitored,
            chosen=new_rulebook.rule_for(
                monitored.score_series.measure.code, monitored.support.area_id, monitored.support.school_ids
            ),
        )
        for monitored in visible_series
    ]
    previewed = judge_series(with_new_rules, others, calibrated)
    before, after = _states_of_supports(visible_series, current), _states_of_supports(visible_series, previewed)
    supports = {monitored.support.id: monitored.support for monitored in visible_series}
    return {support.id: (support.student_id, before[support.id], after[support.id]) for support in supports.values()}


def _states_of_supports(series: Sequence[MonitoredSeries], judgements: Mapping[UUID, Judgement]) -> dict[UUID, State]:
    """Returns the state of each support, keyed by support: the most serious of the states of its measures."""
    states: dict[UUID, State] = {}
    for monitored in series:
        state = judgements[monitored.score_series.series_id].verdict.state
        others = [states[monitored.support.id]] if monitored.support.id in states else []
        states[monitored.support.id] = min([*others, state], key=MOST_SERIOUS_FIRST.index)
    return states


async def _validate(work: Work, rules: Sequence[NewRule]) -> dict[str, Any]:
    """Validates the rules, and returns them as a JSON object that a playbook version stores. Raises `Invalid`."""
    if not 1 <= len(rules) <= MAX_RULES:
        raise Invalid([Violation("/rules", "rules.count", f"Name 1 to {MAX_RULES} rules.")])
    violations: list[Violation] = []
    entries: list[Entry] = []
    for position, rule in enumerate(rules):
        entry, rule_violations = await _resolve_entry(work, rule, f"/rules/{position}")
        violations += rule_violations
        if not rule_violations and entry.key in {other.key for other in entries}:
            detail = "Another rule of this list is for the same measure or area and school."
            violations.append(Violation(f"/rules/{position}", "rule.doubled", detail))
        entries.append(entry)
    if violations:
        raise Invalid(violations)
    stored_entries = stored(entries)
    if REST not in stored_entries:
        stored_entries[REST] = (await published(work)).rules[REST]
    return stored_entries


async def _resolve_entry(work: Work, new: NewRule, at: str) -> tuple[Entry, list[Violation]]:
    violations = _violations_of_rule(new, at)
    measure = area = None
    school: UUID | None = None
    try:
        if new.measure is not None:
            measure_row = await locate_measure(work, new.measure, f"{at}/measure")
            measure, misfit = (
                measure_row.code,
                explain_misfit(new.rule, measure_row.kind) if new.rule in RULES else None,
            )
            if misfit is not None:
                violations.append(Violation(f"{at}/rule", "rule_misfit", misfit))
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


def _violations_of_rule(new: NewRule, at: str) -> list[Violation]:
    violations = []
    if new.measure is not None and new.area is not None:
        detail = "A rule is for a measure or for an area: name one of them."
        violations.append(Violation(f"{at}/area", "rule.two_scopes", detail))
    rule = RULES.get(new.rule)
    if rule is None:
        detail = f"Choose one of the rules {', '.join(RULES)}."
        return [*violations, Violation(f"{at}/rule", "unknown_rule", detail)]
    try:
        rule.resolve_parameters(new.parameters)
    except UnusableRule as error:
        violations.append(Violation(f"{at}/parameters", error.code, error.sentence))
    return violations


def _rule_in_force(entry: Entry) -> RuleInForce:
    rule = RULES.get(entry.rule)
    if rule is None:
        return RuleInForce(entry, None, None)
    parameters = rule.resolve_parameters(entry.parameters)
    return RuleInForce(entry, rule.stated_far(parameters), rule.holds_badly)


def shown_school(entry: Entry) -> str | None:
    """Returns the public id of the school to which an entry applies, or None for the whole district."""
    return ids.format_id("org", entry.school) if entry.school else None

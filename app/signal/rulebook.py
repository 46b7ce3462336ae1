"""Publishes, previews and retires signal rules. A published version never changes; a new version replaces it."""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.incident.lookup import load_kinds, unknown_kind
from app.playbook.lookup import locate_area_in_force, locate_measure, require_in_force
from app.playbook.models import Area
from app.signal.compute import count_candidates
from app.signal.models import SignalRule
from app.signal.rules import NAMES_AREA, OF_WINDOWS, SignalKind, complete_parameters
from app.signal.stalls.compute import count_stalls

MAX_KINDS: Final = 50


@dataclass(frozen=True, slots=True)
class NewSignalRule:
    """A signal rule. Parameters that are not given have the defaults of the kind; see docs/signals.md."""

    code: Annotated[str, Text(min=1, max=60), About("The code, by which the rule is known.", "under-cut")]
    kind: Annotated[str, Choices(SignalKind), About("What the rule looks at.", "screening_under_cut")]
    area: Annotated[
        str | None,
        About(
            "The area of the signals: a code or an id; required where the rule reads grades, attendance or incidents.",
            "ela.fluency",
        ),
    ] = None
    measure: Annotated[
        str | None, About("Only this measure, of a rule about screening or the core: a code or an id.", "orf")
    ] = None
    days: Annotated[int | None, About("The days that the rule looks back, or waits.", 60)] = None
    percent: Annotated[
        int | None, About("The average under which grades are failing, or the share of days that is too much.", 60)
    ] = None
    points: Annotated[int | None, About("The points by which an average drops, or a share falls.", 15)] = None
    least: Annotated[
        int | None, About("The least number of results, of missing works, of days of school, or of incidents.", 5)
    ] = None
    incident_kinds: Annotated[
        tuple[str, ...],
        AtMost(MAX_KINDS),
        Text(min=1, max=40),
        About("The only kinds of incidents that a rule about incidents counts: codes; by default, all.", ()),
    ] = ()


@dataclass(frozen=True, slots=True)
class RulePreview:
    """The number of students, or of grades, for which a rule would suggest a signal now.

    Only students and grades that the caller may see are counted.
    """

    students: int
    grades: int


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_signal_rule(work: Work, new: NewSignalRule) -> SignalRule:
    """Publishes the next version of a rule, or the first version of a new rule. The previous version is retired."""
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SIGNALS})
    rule = await _rule_of(work, new)
    last = await work.db.scalar(
        select(SignalRule)
        .where(SignalRule.district_id == work.district_id, SignalRule.code == rule.code)
        .order_by(SignalRule.number.desc())
        .limit(1)
    )
    if last is not None:
        rule.number = last.number + 1
        last.retired_at = last.retired_at or now()
    work.db.add(rule)
    await work.db.flush()
    return rule


@needs(Can.PUBLISH_PLAYBOOK, Can.READ_SIGNALS)
async def preview_signal_rule(work: Work, new: NewSignalRule) -> RulePreview:
    """Returns the number of students, or grades, for which a rule would now suggest a signal.

    Returns no names and saves nothing.
    """
    rule = await _rule_of(work, new)
    if rule.kind == SignalKind.CORE_STALL:
        return RulePreview(students=0, grades=await count_stalls(work, rule))
    return RulePreview(students=await count_candidates(work, rule), grades=0)


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_signal_rule(work: Work, rule_id: UUID) -> SignalRule:
    """Retires a rule.

    At the next computation, the rule's suggested signals lapse. A signal stays if another rule finds the same in the
    data.
    """
    rule = await work.db.scalar(
        select(SignalRule)
        .where(SignalRule.district_id == work.district_id, SignalRule.id == rule_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if rule is None:
        raise NotFound("signal_rule")
    if rule.retired_at is not None:
        raise Conflict("This version of the rule is retired already.", code="signal_rule.retired")
    rule.retired_at = now()
    await work.db.flush()
    return rule


async def _rule_of(work: Work, new: NewSignalRule) -> SignalRule:
    """Returns the rule that an input describes, as version 1. It is not yet added to the database session.

    Raises `Invalid` with all violations at once.
    """
    violations = Violations(input_violations(new))
    parameters: dict[str, int] = {}
    with violations:
        given = {name: getattr(new, name) for name in ("days", "percent", "points", "least")}
        parameters, wrong = complete_parameters(SignalKind(new.kind), given)
        violations.add(wrong)
    area_id = measure_id = None
    with violations:
        if new.area is not None:
            area_id = (await locate_area_in_force(work, new.area, "/area")).id
        elif new.kind in NAMES_AREA:
            detail = "Grades, attendance and incidents have no areas: name the area of the signals."
            raise Invalid([Violation("/area", "signal_rule.area", detail)])
    with violations:
        if new.measure is not None:
            measure = await locate_measure(work, new.measure, "/measure")
            measure_id = measure.id
            await _require_area_in_force(work, measure.area_id)
            if new.kind not in OF_WINDOWS:
                detail = "Only a rule about screening or the core names a measure."
                raise Invalid([Violation("/measure", "signal_rule.measure", detail)])
    with violations:
        violations.add(await _violations_of_kinds(work, new))
    violations.refuse()
    return SignalRule(
        district_id=work.district_id,
        id=new_id(),
        code=new.code,
        number=1,
        kind=new.kind,
        parameters=parameters,
        area_id=area_id,
        measure_id=measure_id,
        incident_kinds=sorted(set(new.incident_kinds)),
        published_by=work.principal.person_id,
        published_at=now(),
    )


async def _require_area_in_force(work: Work, area_id: UUID) -> None:
    """Raises `Invalid` if the area of the measure that a rule names is retired."""
    area = await work.db.scalar(select(Area).where(Area.district_id == work.district_id, Area.id == area_id))
    if area is not None:
        require_in_force(area, "/measure")


async def _violations_of_kinds(work: Work, new: NewSignalRule) -> list[Violation]:
    """Returns the violations in the kinds of incidents that a rule names."""
    if new.incident_kinds and new.kind != SignalKind.INCIDENTS:
        detail = "Only a rule about incidents names kinds of incidents."
        return [Violation("/incident_kinds", "signal_rule.incident_kinds", detail)]
    in_force: set[str] = set()
    if new.incident_kinds:
        in_force = {kind.code for kind in await load_kinds(work) if kind.until_version is None}
    codes = enumerate(new.incident_kinds)
    unknown = [f"/incident_kinds/{place}" for place, code in codes if code not in in_force]
    return [violation for pointer in unknown for violation in unknown_kind(pointer).violations]

"""Owns how measures are made and amended. What rests on one lies in higher rooms: who amends says it, as a `Use`.

The code never changes: the rules of published versions and the mappings of sources name it. Direction, kind and area
stand once there is a score or a support; the range may not leave kept scores outside, nor the forms leave theirs out.
Name, unit and standard error of measurement change freely: the last is kept with each verdict that rested on it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import AimlineError, Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.playbook.instrument import STAYS, UNUSED, Use, against, violations_of
from app.playbook.lookup import locate_area, locate_measure
from app.playbook.models import Measure

COLUMNS = ("name", "area_id", "unit", "direction", "sem", "lowest", "highest", "kind", "forms")
WEIGHED = frozenset({*STAYS, "lowest", "highest", "forms"})
"""What is held against the scores that are there."""


@dataclass(frozen=True, slots=True)
class NewMeasure:
    """A measure as a district asks for it; `area` is a code or an id, `forms` None where any form is taken."""

    code: str
    name: str
    area: str
    unit: str
    direction: str
    lowest: float
    highest: float
    sem: float | None = None
    kind: str = "growth"
    forms: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class AmendedMeasure:
    """A measure after a change, and which columns are no longer as they were."""

    measure: Measure
    changed: frozenset[str]


@needs(Can.PUBLISH_PLAYBOOK)
async def make_measure(work: Work, new: NewMeasure) -> Measure:
    """Makes a measure. Raises `Invalid` with everything that is wrong, `Conflict` where the code is taken."""
    told = asdict(new)
    violations = violations_of(told)
    told["area_id"] = await _area(work, told.pop("area"), violations)
    if violations:
        raise Invalid(violations)
    here = (Measure.district_id == work.district_id) & (Measure.code == new.code)
    if await work.db.scalar(select(Measure.id).where(here)) is not None:
        raise Conflict("There is a measure of this code already: amend it, or choose another.", code="measure.taken")
    measure = Measure(district_id=work.district_id, id=new_id(), **_stored(told))
    work.db.add(measure)
    await work.db.flush()
    return measure


@needs(Can.PUBLISH_PLAYBOOK)
async def amend_measure(
    work: Work, name: str, changes: Mapping[str, Any], use_of: Callable[[Measure, Sequence[str] | None], Awaitable[Use]]
) -> AmendedMeasure:
    """Changes what is named in `changes`, by the fields of `NewMeasure`, of the measure of this code or id.

    `use_of` is asked only where what rests on the measure matters, with the forms as they would be. Raises `NotFound`,
    and `Invalid` with everything that is wrong.
    """
    measure = await _locked(work, name)
    if not changes:
        raise Invalid([Violation("", "measure.nothing", "Name what is to be changed.")])
    told = {column: getattr(measure, column) for column in ("code", *COLUMNS)}
    wanted = {key: value for key, value in changes.items() if key not in ("area", "code")}
    violations = violations_of(told | wanted)
    if changes.get("code", measure.code) != measure.code:
        detail = "A code stays: published rules and the mappings of sources name it. Make another measure."
        violations.append(Violation("/code", "measure.code_stays", detail))
    if "area" in changes:
        wanted["area_id"] = await _area(work, changes["area"], violations) or measure.area_id
    changed = {name: value for name, value in _stored(wanted).items() if value != told[name]}
    use = await use_of(measure, changed.get("forms")) if WEIGHED & changed.keys() else UNUSED
    violations += against(use, changed)
    if violations:
        raise Invalid(violations)
    for column, value in changed.items():
        setattr(measure, column, value)
    await work.db.flush()
    return AmendedMeasure(measure, frozenset(changed))


async def _locked(work: Work, name: str) -> Measure:
    try:
        found = await locate_measure(work, name, "")
    except Invalid:
        raise NotFound("measure") from None
    # Who records a score of it waits, or is waited for: both hold its key.
    here = (Measure.district_id == work.district_id) & (Measure.id == found.id)
    query = select(Measure).where(here).with_for_update().execution_options(populate_existing=True)
    measure: Measure = (await work.db.scalars(query)).one()
    return measure


async def _area(work: Work, name: str, violations: list[Violation]) -> Any:
    """The area's id; where there is none, that is added to the violations."""
    try:
        return (await locate_area(work, name, "/area")).id
    except Invalid as error:
        violations += error.violations
    except AimlineError as error:
        violations.append(Violation("/area", error.code, error.detail))
    return None


def _stored(told: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the columns hold them."""
    kept = dict(told)
    for name in ("sem", "lowest", "highest"):
        if kept.get(name) is not None:
            kept[name] = float(kept[name])
    if kept.get("forms") is not None:
        kept["forms"] = list(kept["forms"])
    return kept

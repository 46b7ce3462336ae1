"""Creates and amends measures.

* The code never changes, because published rules and the mappings of sources refer to it.
* Direction, kind and area cannot change once the measure has a score or a support.
* The range of scores and the list of forms (versions of the test) must include all stored scores.
* Name, unit and standard error of measurement can change at any time, because each verdict stores the standard error
  with which it was computed.

This package may not import scores and supports. The caller therefore passes a function that says how a measure is used.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from sqlalchemy import Text as TextType
from sqlalchemy import any_, cast, select
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.errors import AimlineError, Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Choices
from app.core.text import Text
from app.core.violations import KnownValues, Unread, Violations, known_values, without_unread
from app.playbook.lookup import locate_area_in_force, locate_measure
from app.playbook.measures.instrument import (
    CODE,
    FIXED_IN_USE,
    MAX_FORM_LENGTH,
    MAX_FORMS,
    MAX_NAME_LENGTH,
    MAX_UNIT_LENGTH,
    NOT_IN_USE,
    Direction,
    MeasureKind,
    MeasureUse,
    violations_of,
    violations_of_change,
)
from app.playbook.measures.noise import MAX_RANGES, NewSemRange, ranges_as_stored
from app.playbook.models import Measure
from app.roster.student_lock import lock_named_subjects

COLUMNS = ("name", "area_id", "unit", "direction", "sem", "sems", "lowest", "highest", "kind", "forms")
CHECKED_AGAINST_USE = frozenset({*FIXED_IN_USE, "lowest", "highest", "forms"})
"""The columns whose changes must be checked against existing scores and supports."""


@dataclass(frozen=True, slots=True)
class NewMeasure:
    """The input of `make_measure`. `area` is a code or an id.

    `forms` are the versions of the test. If it is None, scores of any version are accepted.
    """

    code: Annotated[
        str, Text(max=63), About("The code by which scores and rules name it; it never changes.", "orf-spanish")
    ]
    name: Annotated[str, Text(max=MAX_NAME_LENGTH), About("The name.", "Oral reading fluency, Spanish")]
    area: Annotated[str, About("The area that it measures: a code or an id.", "ela.fluency")]
    unit: Annotated[str, Text(max=MAX_UNIT_LENGTH), About("The unit of its scores.", "words a minute")]
    direction: Annotated[str, Choices(Direction), About("The direction in which scores improve.", "up")]
    lowest: Annotated[float, About("The lowest possible score.", 0.0)]
    highest: Annotated[float, About("The highest possible score.", 300.0)]
    sem: Annotated[
        float | None, About("Standard error of measurement, in the measure's unit; null where it is not known.", 5.5)
    ] = None
    sems: Annotated[
        Sequence[NewSemRange],
        AtMost(MAX_RANGES),
        About("Its standard errors of measurement for some grades or ranges of score; `sem` applies elsewhere."),
    ] = ()
    kind: Annotated[
        str,
        Choices(MeasureKind),
        About("`growth`, or `count`, `percentage` or `criterion`, each judged by rules of its own.", "growth"),
    ] = "growth"
    forms: Annotated[
        Sequence[Annotated[str, Text(max=MAX_FORM_LENGTH)]] | None,
        AtMost(MAX_FORMS),
        About("The measure's passages or versions; null where any name is accepted.", ("A", "B")),
    ] = None


@dataclass(frozen=True, slots=True)
class AmendedMeasure:
    """The result of amending a measure: the measure, and the names of the changed columns."""

    measure: Measure
    changed: frozenset[str]


@needs(Can.PUBLISH_PLAYBOOK)
async def make_measure(work: Work, new: NewMeasure) -> Measure:
    """Creates a measure; raises `Invalid` with every violation, and `Conflict` if the code is taken."""
    values = KnownValues(known_values(new))
    violations = Violations(violations_of(values))
    with violations:
        values["area_id"] = await _resolve_area(work, values["area"])
    violations.refuse()
    del values["area"]
    same_code = (Measure.district_id == work.district_id) & (Measure.code == new.code)
    if await work.db.scalar(select(Measure.id).where(same_code)) is not None:
        raise Conflict("A measure with this code exists: amend it, or choose another code.", code="measure.taken")
    measure = Measure(district_id=work.district_id, id=new_id(), **_to_columns(values))
    work.db.add(measure)
    await work.db.flush()
    return measure


@needs(Can.PUBLISH_PLAYBOOK)
async def amend_measure(
    work: Work,
    name: str,
    changes: Mapping[str, Any],
    use_of: Callable[[Measure, Sequence[str] | None], Awaitable[MeasureUse]],
) -> AmendedMeasure:
    """Changes the measure with this code or id. `changes` has the new values, keyed by the field names of `NewMeasure`.

    Some changes are allowed only if they fit the scores and supports that the measure already has. For such a change,
    `use_of` is called to learn how the measure is used. It takes the measure, and the new list of forms, or None if the
    list does not change.

    Raises `NotFound`, or `Invalid` with every violation.
    """
    measure = await _lock_measure(work, name)
    if not changes:
        raise Invalid([Violation("", "measure.nothing", "Name what is to be changed.")])
    current = {column: getattr(measure, column) for column in ("code", *COLUMNS)}
    values = without_unread({key: value for key, value in changes.items() if key not in ("area", "code")})
    violations = Violations(violations_of(without_unread(current | dict(changes) | {"code": measure.code})))
    with violations:
        if changes.get("code", measure.code) != measure.code:
            detail = "A code cannot change: published rules and the mappings of sources refer to it. Create a new one."
            raise Invalid([Violation("/code", "measure.code_stays", detail)])
    with violations:
        if "area" in changes:
            values["area_id"] = await _resolve_area(work, changes["area"])
    changed = {name: value for name, value in _to_columns(values).items() if value != current[name]}
    use = await use_of(measure, changed.get("forms")) if CHECKED_AGAINST_USE & changed.keys() else NOT_IN_USE
    violations.add(violations_of_change(use, changed))
    violations.refuse()
    for column, value in changed.items():
        setattr(measure, column, value)
    measure.version += bool(changed)
    await work.db.flush()
    return AmendedMeasure(measure, frozenset(changed))


async def _lock_measure(work: Work, name: str) -> Measure:
    """Locks and returns the measure with this code or id.

    A GraphQL request can contain several commands, which run in one transaction. The first command locks the students
    and measures of all of them, so that every transaction locks in the same order: students before measures.
    """
    await lock_named_subjects(work)
    try:
        measure_id = (await locate_measure(work, name, "")).id
    except Invalid:
        raise NotFound("measure") from None
    names, work.named_measures = work.named_measures, frozenset()
    named_ids = [measure_id]
    for text in names:
        with suppress(Invalid):
            kind, row_id = ids.parse_any_id(text)
            named_ids += [row_id] if kind == "measure" else []
    codes = [text for text in names if CODE.fullmatch(text)]
    is_named = (Measure.id == any_(cast(named_ids, ARRAY(UUID)))) | (Measure.code == any_(cast(codes, ARRAY(TextType))))
    query = select(Measure).where(Measure.district_id == work.district_id, is_named).order_by(Measure.id)
    query = query.with_for_update().execution_options(populate_existing=True)
    measures: dict[Any, Measure] = {measure.id: measure for measure in await work.db.scalars(query)}
    return measures[measure_id]


async def _resolve_area(work: Work, name: str) -> Any:
    """Returns the id of the area with this code or id; raises `Invalid`."""
    try:
        return (await locate_area_in_force(work, name, "/area")).id
    except Invalid:
        raise
    except AimlineError as error:
        raise Invalid([Violation("/area", error.code, error.detail)]) from None


def _to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of an input as they are stored, keyed by column."""
    columns = dict(values)
    for name in ("sem", "lowest", "highest"):
        if columns.get(name) is not None:
            columns[name] = float(columns[name])
    if columns.get("forms") is not None:
        columns["forms"] = list(columns["forms"])
    if "sems" in columns:
        with suppress(Unread):  # The change is refused in any case.
            columns["sems"] = ranges_as_stored(columns["sems"])
    return columns

"""Computes core stalls: finds the grades in which the share of students at the benchmark fell between two windows."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import BindParameter, Date, DateTime, Text, TextClause, Uuid, bindparam, or_, select, text

from app.access.principal import Reach
from app.access.work import Work
from app.core.clock import now
from app.core.db import plan_for_many_rows
from app.core.ids import new_id
from app.events.catalogue import CORE_STALL_SUGGESTED
from app.evidence.screening.classified import PARAMETERS, values_of
from app.evidence.screening.cuts import ExpectedInWindow, expected_in, suggested_levels
from app.evidence.screening.models import ScreeningExpectation, ScreeningWindow
from app.evidence.screening.rules import WindowState
from app.roster.lookup import IdList, today_of
from app.signal.models import SignalRule
from app.signal.rules import SignalKind
from app.signal.stalls.events import emit_stall_event
from app.signal.stalls.rules import StallState
from app.signal.stalls.statements import CLOSED_WINDOW, COUNT, LAPSE_BEYOND, OPEN_WINDOW, WRITE

OWN: Final[tuple[BindParameter[Any], ...]] = (
    *PARAMETERS,
    *(bindparam(name, type_=Text) for name in ("rules", "measured", "salt", "stamp")),
    bindparam("today", type_=Date),
    *(bindparam(name, type_=Uuid) for name in ("window", "school")),
    bindparam("windows", type_=IdList),
    bindparam("now", type_=DateTime(timezone=True)),
)
OF_DISTRICT: Final = ""
OF_SCHOOLS: Final = " AND NOT n.is_district"
"""The condition that leaves out district-wide grades, for a caller who sees only some schools."""


async def windows_of_stalls(work: Work, rules: Sequence[SignalRule], today: date) -> list[ScreeningWindow]:
    """Returns the screening windows that have begun and that a rule about core stalls still reads.

    A core stall is a grade in which the share of students at the benchmark fell. The parameter `days` of a rule states
    how many days after the end of a window the rule still reads it. This function checks no permission; its callers do.
    """
    days = [int(rule.parameters["days"]) for rule in rules if rule.kind == SignalKind.CORE_STALL]
    if not days:
        return []
    query = select(ScreeningWindow).where(
        ScreeningWindow.district_id == work.district_id,
        ScreeningWindow.state.in_((WindowState.OPEN, WindowState.CLOSED)),
        ScreeningWindow.opens_on <= today,
        ScreeningWindow.closes_on > today - timedelta(days=max(days)),
    )
    return list(await work.db.scalars(query.order_by(ScreeningWindow.id)))


async def compute_stalls(
    work: Work, rules: Sequence[SignalRule], windows: Sequence[ScreeningWindow], today: date
) -> int:
    """Suggests a core stall for each grade in which the share of students at the benchmark fell between two windows.

    Returns the number of rows that were written. A suggested core stall lapses if it is no longer true, or if it
    belongs to a window that is not in `windows`. This function checks no permission; the functions that call it do.
    """
    written = 0
    for window in windows:
        values = await _values(work, rules, window, today)
        if values is None:
            continue
        statement, used = _statement(WRITE, window, OF_DISTRICT, values)
        rows = (await work.db.execute(statement, used)).all()
        written += len(rows)
        for row in rows:
            if row.state == StallState.SUGGESTED:
                emit_stall_event(work, CORE_STALL_SUGGESTED, row)
    beyond = {"district": work.district_id, "windows": [window.id for window in windows], "now": now()}
    statement = text(LAPSE_BEYOND).bindparams(*(one for one in OWN if one.key in beyond))
    return written + len((await work.db.execute(statement, beyond)).all())


async def count_stalls(work: Work, rule: SignalRule) -> int:
    """Returns the number of grades for which a rule would suggest a core stall now.

    That is, the share of the grade's students at the benchmark has fallen by at least as much as the rule says. Counts
    only grades that the caller may see. This function checks no permission; the functions that call it do.
    """
    await plan_for_many_rows(work.db)
    today, counted = await today_of(work), 0
    cells = OF_DISTRICT if work.principal.reach is Reach.DISTRICT else OF_SCHOOLS
    for window in await windows_of_stalls(work, [rule], today):
        values = await _values(work, [rule], window, today)
        if values is not None:
            statement, used = _statement(COUNT, window, cells, values)
            counted += int(await work.db.scalar(statement, used) or 0)
    return counted


async def _values(
    work: Work, rules: Sequence[SignalRule], window: ScreeningWindow, today: date
) -> dict[str, Any] | None:
    """Returns the parameters, by name, of the SQL that computes the core stalls (grades that fell) of a window.

    Returns None if there is no earlier window with which this window can be compared.
    """
    expected, _ = await expected_in(work, window)
    before = await _windows_before(work, window)
    compared = [one for one in expected if one.measure.id in before]
    if not compared:
        return None
    of_core = [
        {"rule_id": str(rule.id), "measure_id": None if rule.measure_id is None else str(rule.measure_id)}
        | {name: rule.parameters[name] for name in ("points", "days")}
        for rule in rules
        if rule.kind == SignalKind.CORE_STALL
    ]
    salt = new_id().hex
    return {
        **values_of(work, window, compared, await suggested_levels(work)),
        "rules": orjson.dumps(of_core).decode(),
        "measured": orjson.dumps([_measured(one, before) for one in compared]).decode(),
        "today": today,
        "window": window.id,
        "school": window.school_id,
        "salt": salt,
        "stamp": f"{salt[:12]}7",
        "now": now(),
    }


def _measured(one: ExpectedInWindow, before: dict[UUID, UUID]) -> dict[str, str | None]:
    return {
        "measure_id": str(one.measure.id),
        "area_id": str(one.measure.area_id),
        "secured": one.secured_area,
        "window_before_id": str(before[one.measure.id]),
    }


async def _windows_before(work: Work, window: ScreeningWindow) -> dict[UUID, UUID]:
    """Returns, for each measure, the id of the window with which `window` is compared.

    It is the last window of the same school year that was closed before `window` opened. A window of all schools is
    compared only with windows of all schools, because a window of one school has other students. A window of one school
    is compared with windows of this school or of all schools.
    """
    of_school = () if window.school_id is None else (ScreeningWindow.school_id == window.school_id,)
    query = (
        select(ScreeningExpectation.measure_id, ScreeningWindow.id)
        .join(
            ScreeningWindow,
            (ScreeningWindow.district_id == ScreeningExpectation.district_id)
            & (ScreeningWindow.id == ScreeningExpectation.window_id),
        )
        .where(
            ScreeningExpectation.district_id == work.district_id,
            ScreeningWindow.district_id == work.district_id,
            ScreeningWindow.state == WindowState.CLOSED,
            ScreeningWindow.school_year == window.school_year,
            ScreeningWindow.closes_on <= window.opens_on,
            or_(ScreeningWindow.school_id.is_(None), *of_school),
        )
        .order_by(ScreeningWindow.closes_on, ScreeningWindow.id)
    )
    return {measure_id: window_id for measure_id, window_id in await work.db.execute(query)}  # noqa: C416  # rows are no tuples for mypy


def _statement(
    template: str, window: ScreeningWindow, cells: str, values: dict[str, Any]
) -> tuple[TextClause, dict[str, Any]]:
    """Returns the SQL of a template for one window, and the values of the parameters that it uses.

    `cells` is the SQL that selects the grades, either of the whole district or of the caller's schools.
    """
    outcome = CLOSED_WINDOW
    if window.state != WindowState.CLOSED:
        school = "" if window.school_id is None else " AND :school = ANY (p.school_ids)"
        outcome = OPEN_WINDOW.format(students=school, scores="")
    statement = text(template.format(outcome=outcome, cells=cells))
    names = set(statement._bindparams)
    by_name = {one.key: one for one in OWN}
    return statement.bindparams(*(by_name[name] for name in names)), {name: values[name] for name in names}

"""Computes signals (what rules find in students' data) for many students at once, with a few SQL statements.

The signals of all students are computed once a day, and whenever something changes that affects all students, such as a
rule. At other times, only the signals of students whose data have changed are computed.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import (
    BindParameter,
    Date,
    DateTime,
    Text,
    TextClause,
    Uuid,
    bindparam,
    select,
    text,
)

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.db import plan_for_many_rows
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.ids import new_id
from app.events.catalogue import SIGNAL_SUGGESTED
from app.events.outbox import record, student_event
from app.evidence.screening.classified import PARAMETERS, values_of
from app.evidence.screening.cuts import expected_in, suggested_levels
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowState
from app.playbook.lookup import published
from app.playbook.models import Area
from app.roster.lookup import IdList, today_of
from app.signal.models import SignalRule
from app.signal.progress import read_changes
from app.signal.rules import GRADED, OF_WINDOWS, SignalKind, SignalState
from app.signal.stalls.compute import compute_stalls, windows_of_stalls
from app.signal.statements import COUNT, GRADED_AND_SERVED, LAPSE_BEYOND, SCREENED, WRITE

YEAR: Final = timedelta(days=400)
"""How far back a rule about a drop in grades reads. The rule compares recent grades with older grades."""
YEAR_BEGINS: Final = 7
"""The month in which the school year begins. Absences are counted from the first day of this month."""
FEW: Final = 500
"""If signals of more students than this are computed, the transaction is set up for statements that read many rows."""
OWN: Final[tuple[BindParameter[Any], ...]] = (
    *(bindparam(name, type_=Text) for name in ("rules", "areas", "salt", "stamp")),
    *(bindparam(name, type_=Date) for name in ("today", "since", "year_begins")),
    *(bindparam(name, type_=IdList) for name in ("students", "windows")),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("window", type_=Uuid),
)


@needs(Can.JUDGE)
async def compute_signals(work: Work) -> int:
    """Creates and updates the signals: what the rules find in students' data. Returns the number of rows written.

    If there is no signal yet about what a rule finds, a signal is suggested. If no rule finds it any more, the
    suggested signal lapses.

    Once a day, when the signals of all students are computed, also computes core stalls: grades in which the share of
    students at the benchmark fell between two screening windows.
    """
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SIGNALS})
    today = await today_of(work)
    rules = await rules_in_force(work)
    windows = await _windows(work, rules, today)
    of_stalls = await windows_of_stalls(work, rules, today)
    students = await read_changes(work, today, await _digest(work, rules, (*windows, *of_stalls)))
    if students is not None:
        return await _compute(work, rules, windows, today, students) if students else 0
    written = await _compute(work, rules, windows, today, None)
    return written + await compute_stalls(work, rules, of_stalls, today)


async def rules_in_force(work: Work) -> list[SignalRule]:
    """Returns the signal rules that are in force: the published ones that are not retired."""
    query = select(SignalRule).where(SignalRule.district_id == work.district_id, SignalRule.retired_at.is_(None))
    return list(await work.db.scalars(query.order_by(SignalRule.id)))


async def count_candidates(work: Work, rule: SignalRule) -> int:
    """Returns the number of students for whom a rule would suggest a signal now.

    Counts only students whom the caller may see.
    """
    await plan_for_many_rows(work.db)
    today, counted = await today_of(work), 0
    for sql, parameters, values in await _candidates(work, await _windows(work, [rule], today), None, [rule]):
        given = {**values, **await _common(work, [rule], today)}
        statement, used = _statement(COUNT.format(candidates=sql), parameters, given)
        counted += int(await work.db.scalar(statement, used) or 0)
    return counted


async def _compute(
    work: Work,
    rules: Sequence[SignalRule],
    windows: Sequence[ScreeningWindow],
    today: date,
    students: Collection[UUID] | None,
) -> int:
    if students is None or len(students) > FEW:
        await plan_for_many_rows(work.db)
    common = await _common(work, rules, today)
    chosen = {} if students is None else {"students": list(students)}
    of_students = "" if students is None else " AND o.student_id = ANY (:students)"
    written = 0
    for sql, parameters, values in await _candidates(work, windows, students, rules):
        scope = f" AND o.kind <> '{SignalKind.SCREENING_UNDER_CUT}'"
        if "window" in values:
            scope = f" AND o.kind = '{SignalKind.SCREENING_UNDER_CUT}' AND o.window_id = :window"
        template = WRITE.format(candidates=sql, scope=f"{scope}{of_students}")
        statement, used = _statement(template, parameters, {**values, **common, **chosen})
        rows = (await work.db.execute(statement, used)).all()
        written += len(rows)
        for row in rows:
            if row.state == SignalState.SUGGESTED:
                _suggested(work, row)
    beyond = {**common, **chosen, "windows": [window.id for window in windows]}
    of_students = "" if students is None else " AND s.student_id = ANY (:students)"
    statement, used = _statement(LAPSE_BEYOND.format(students=of_students), (), beyond)
    return written + len((await work.db.execute(statement, used)).all())


def _suggested(work: Work, row: Any) -> None:
    record(work, student_event(SIGNAL_SUGGESTED, row))


async def _candidates(
    work: Work, windows: Sequence[ScreeningWindow], students: Collection[UUID] | None, rules: Sequence[SignalRule]
) -> list[tuple[str, tuple[BindParameter[Any], ...], dict[str, Any]]]:
    """Returns the SQL queries that find reasons for signals in students' data.

    There is one query for each screening window, and one more query for grades, attendance, incidents and supports.
    Each query is a tuple of the SQL, the typed parameters, and the parameters' values. If `students` is not None, only
    the data of these students are searched.
    """
    only = "" if students is None else " AND p.id = ANY (:students)"
    scores = "" if students is None else " AND s.student_id = ANY (:students)"
    queries: list[tuple[str, tuple[BindParameter[Any], ...], dict[str, Any]]] = []
    levels = await suggested_levels(work)
    for window in windows:
        expected, _ = await expected_in(work, window)
        school = "" if window.school_id is None else " AND :school = ANY (p.school_ids)"
        areas = [
            {"measure_id": str(one.measure.id), "area_id": str(one.measure.area_id), "secured": one.secured_area}
            for one in expected
        ]
        values = values_of(work, window, expected, levels)
        values |= {"window": window.id, "areas": orjson.dumps(areas).decode(), "school": window.school_id}
        parameters = (*PARAMETERS, bindparam("school", type_=Uuid))
        queries.append((SCREENED.format(students=f"{school}{only}", scores=scores), parameters, values))
    if any(rule.kind not in OF_WINDOWS for rule in rules) or len(rules) != 1:
        district = bindparam("district", type_=Uuid)
        results = "" if students is None else " AND g.student_id = ANY (:students)"
        attendance = "" if students is None else " AND t.student_id = ANY (:students)"
        incidents = "" if students is None else " AND i.student_id = ANY (:students)"
        of_students = {"results": results, "supports": scores, "attendance": attendance, "incidents": incidents}
        sql = GRADED_AND_SERVED.format(**of_students, answered=scores)
        queries.append((sql, (district,), {"district": work.district_id}))
    return queries


async def _common(work: Work, rules: Sequence[SignalRule], today: date) -> dict[str, Any]:
    salt = new_id().hex
    areas = await work.db.scalars(select(Area).where(Area.district_id == work.district_id))
    by_id = {area.id: area for area in areas}
    stated = [
        {
            "rule_id": str(rule.id),
            "kind": rule.kind,
            "area_id": None if rule.area_id is None else str(rule.area_id),
            "secured": _secured(by_id, rule.area_id),
            "measure_id": None if rule.measure_id is None else str(rule.measure_id),
            "incident_kinds": rule.incident_kinds,
            **rule.parameters,
        }
        for rule in rules
    ]
    return {
        "district": work.district_id,
        "rules": orjson.dumps(stated).decode(),
        "today": today,
        "since": _grades_since(rules, today),
        "year_begins": date(today.year - (today.month < YEAR_BEGINS), YEAR_BEGINS, 1),
        "salt": salt,
        "stamp": f"{salt[:12]}7",
        "now": now(),
    }


def _grades_since(rules: Sequence[SignalRule], today: date) -> date:
    """Returns the first day whose grades the rules need.

    A rule normally needs the grades of as many days as its parameter `days` says. A rule about a drop in grades needs
    grades of a whole year, because it compares recent grades with older ones.
    """
    if any(rule.kind == SignalKind.GRADE_DROP for rule in rules):
        return today - YEAR
    days = [int(rule.parameters["days"]) for rule in rules if rule.kind in GRADED]
    return today - timedelta(days=max(days, default=0))


def _secured(areas: Mapping[UUID, Area], area_id: UUID | None) -> str | None:
    """Returns the code of the secured area that an area belongs to, or None if it belongs to none.

    A secured area, and all areas within it, can be seen only with a scope of its own. If several secured areas contain
    this area, the result is the nearest of them. It can be this area itself.
    """
    while area_id is not None:
        if areas[area_id].secured:
            return areas[area_id].code
        area_id = areas[area_id].parent_id
    return None


async def _windows(work: Work, rules: Sequence[SignalRule], today: date) -> list[ScreeningWindow]:
    """Returns the screening windows that have begun and that at least one of the rules still reads.

    A rule reads the results of a window until some days after the end of the window. The rule's parameter `days` is the
    number of these days.
    """
    days = [int(rule.parameters["days"]) for rule in rules if rule.kind == SignalKind.SCREENING_UNDER_CUT]
    if not days:
        return []
    query = select(ScreeningWindow).where(
        ScreeningWindow.district_id == work.district_id,
        ScreeningWindow.state != WindowState.CANCELLED,
        ScreeningWindow.opens_on <= today,
        ScreeningWindow.closes_on > today - timedelta(days=max(days)),
    )
    return list(await work.db.scalars(query.order_by(ScreeningWindow.id)))


async def _digest(work: Work, rules: Sequence[SignalRule], windows: Sequence[ScreeningWindow]) -> str:
    """Returns a digest of what affects the signals of all students: the rules, the windows, the playbook version."""
    parts = [str(rule.id) for rule in rules]
    parts += [f"{window.id}{window.version}" for window in windows]
    parts.append(str((await published(work)).number))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _statement(
    sql: str, parameters: Sequence[BindParameter[Any]], values: Mapping[str, Any]
) -> tuple[TextClause, dict[str, Any]]:
    """Returns the SQL as a statement whose parameters have types, and the values of the parameters that it uses."""
    statement = text(sql)
    names = set(statement._bindparams)
    by_name = {one.key: one for one in (*OWN, bindparam("district", type_=Uuid), *parameters)}
    typed = statement.bindparams(*(by_name[name] for name in names))
    return typed, {name: values[name] for name in names}

"""Measures the times of four computations in a district of 100,000 students.

These are the report of a screening window, the signals, the agenda of a team, and a teacher's list of what is due.

`python3 dev.py python -m bench.teams [--students 100000]`

The district has schools of 1,000 students in six grades. Of the students, 19 in 20 have a screening score, all have
five results in a class, and one in ten has a support. The limits are:

* the report: 2 s;
* the first computation of all signals: 60 s;
* the computation of signals after the scores of one class have changed: 3 s;
* the agenda of a team of 120 students with a year of data: 150 ms;
* the list of what is due for the teacher of this team: 60 ms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import Principal, Reach, client_principal, system_principal
from app.access.work import Work, needs, unit
from app.agenda.reading import read_agenda
from app.attention.queries import attention
from app.cli.district import open_district
from app.core.db import open_engine
from app.core.ids import new_id
from app.core.page import keyset
from app.evidence.screening.service import ExpectedMeasure, NewWindow, schedule_screening_window
from app.insight.window import ReportQuery, window_report
from app.settings import Settings
from app.signal.compute import compute_signals
from app.signal.rulebook import NewSignalRule, publish_signal_rule
from bench.agenda import fill_teacher, fill_team
from bench.server import as_owner, migrated

TODAY: Final = datetime.now(UTC).date()
LIMITS: Final = {"report": 2.0, "signals": 60.0, "changed": 3.0, "agenda": 0.15, "attention": 0.06}
"""The largest numbers of seconds."""
ID: Final = "CAST(md5('{name}' || n) AS uuid)"
SCHOOL_OF: Final = "CAST(md5('school' || (n - 1) / 1000) AS uuid)"
CLASS_OF: Final = "CAST(md5('class' || (n - 1) / 25) AS uuid)"
ROWS: Final = (
    """INSERT INTO org (district_id, id, name, type)
       SELECT :district, CAST(md5('school' || n) AS uuid), 'School ' || n, 'school'
       FROM generate_series(0, (:students - 1) / 1000) AS n""",
    """INSERT INTO class (district_id, id, school_id, title, type, grades, subjects, subject_codes, periods,
                           academic_session_ids)
       SELECT :district, CAST(md5('class' || n) AS uuid), CAST(md5('school' || n / 40) AS uuid), 'Class ' || n,
              'homeroom', '{}', '{}', '{}', '{}', '{}'
       FROM generate_series(0, (:students - 1) / 25) AS n""",
    f"""INSERT INTO person (district_id, id, role, is_student, given_name, family_name, enabled, grades, school_ids,
                            user_ids, agent_sourced_ids, pinned)
       SELECT :district, {ID.format(name="student")}, 'student', true, 'A', 'B', true,
              ARRAY['0' || 1 + (n - 1) / 25 % 6], ARRAY[{SCHOOL_OF}], '{{}}', '{{}}', '{{}}'
       FROM generate_series(1, :students) AS n""",
    f"""INSERT INTO score (district_id, id, student_id, school_ids, measure_id, purpose, taken_on, attempt, value,
                           recorded_at, version)
       SELECT :district, {ID.format(name="score")}, {ID.format(name="student")}, ARRAY[{SCHOOL_OF}], m.id,
              'screening', CAST(:today AS date), 1, 40 + n * 7919 % 150, now(), 1
       FROM generate_series(1, :students) AS n, measure AS m
       WHERE m.district_id = :district AND m.code = 'orf' AND n % 20 <> 0""",
    f"""INSERT INTO support (district_id, id, student_id, school_ids, intervention, area_id, level_id, measure_id,
                             state, starts_on, playbook_version_id, created_at, version)
       SELECT :district, {ID.format(name="support")}, {ID.format(name="student")}, ARRAY[{SCHOOL_OF}], 'Reading',
              m.area_id, l.id, m.id, 'active', CAST(:today AS date) - 60, v.id, now(), 1
       FROM generate_series(1, :students) AS n, measure AS m, level AS l, playbook_version AS v
       WHERE m.district_id = :district AND m.code = 'orf' AND l.district_id = :district AND l.rank = 2
         AND v.district_id = :district AND n % 10 = 0""",
    """INSERT INTO line_item (district_id, id, title, class_id, result_value_max)
       SELECT :district, CAST(md5('item' || n || '/' || k) AS uuid), 'Work', CAST(md5('class' || n) AS uuid), 100
       FROM generate_series(0, (:students - 1) / 25) AS n, generate_series(1, 5) AS k""",
    f"""INSERT INTO result (district_id, id, student_id, school_ids, line_item_id, class_id, score, score_date,
                            source_id, sourced_id)
       SELECT :district, CAST(md5('result' || n || '/' || k) AS uuid), {ID.format(name="student")},
              ARRAY[{SCHOOL_OF}], CAST(md5('item' || (n - 1) / 25 || '/' || k) AS uuid), {CLASS_OF},
              55 + n * 31 % 45, CAST(:today AS date) - k * 3, CAST(:source AS uuid), n || '/' || k
       FROM generate_series(1, :students) AS n, generate_series(1, 5) AS k""",
)
"""The statements that fill the district. All ids are digests, so that rows name each other without a look-up."""
ONE_CLASS: Final = f"""UPDATE score AS s SET value = 5, updated_at = now(), version = s.version + 1
    WHERE s.district_id = :district AND s.id = ANY (ARRAY (
        SELECT {ID.format(name="score")} FROM generate_series(26, 50) AS n))"""


@needs(Can.SYNC_ROSTER)
async def _fill(work: Work, students: int) -> None:
    source = new_id()
    await work.db.execute(
        text("INSERT INTO source (district_id, id, name, kind, created_at) VALUES (:d, :s, 'sis', 'csv', now())"),
        {"d": work.district_id, "s": source},
    )
    values = {"district": work.district_id, "students": students, "today": TODAY, "source": source}
    for sql in ROWS:
        statement = text(sql)
        await work.db.execute(statement, {name: values[name] for name in statement._bindparams})


@needs(Can.SYNC_ROSTER)
async def _change_class(work: Work) -> None:
    await work.db.execute(text(ONE_CLASS), {"district": work.district_id})


async def _timed(label: str, run: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    result = await run()
    took = time.perf_counter() - began
    print(f"{label}: {took:.3f} s ({result})", flush=True)
    return took


class Bench:
    """The district that is measured."""

    def __init__(self, settings: Settings, worker: AsyncEngine, api: AsyncEngine, district: UUID) -> None:
        self.settings, self.worker, self.api = settings, worker, api
        self.house = system_principal(district, "bench")
        scopes = frozenset(str(can) for can in Can)
        self.client = client_principal(district, new_id(), "bench", scopes, ())

    def unit(self, engine: AsyncEngine, principal: Principal) -> Any:
        """Opens a unit of work."""
        return unit(engine, principal, self.settings.keyring, "bench")

    async def window(self) -> UUID:
        """Schedules a screening window that is open today."""
        grades = tuple(f"0{grade}" for grade in range(1, 7))
        opens: date = TODAY - timedelta(days=5)
        new = NewWindow("fall", opens, TODAY + timedelta(days=20), (ExpectedMeasure("orf", grades),))
        async with self.unit(self.api, self.client) as work:
            for number, kind in enumerate(("screening_under_cut", "failing", "grade_drop", "unmet_goal")):
                await publish_signal_rule(work, NewSignalRule(f"rule{number}", kind, "ela" if number else None))
            return (await schedule_screening_window(work, new)).id

    async def report(self, window_id: UUID) -> str:
        """Reads the report with the counts by school and level, and a page of results."""
        async with self.unit(self.api, self.client) as work:
            page = keyset(work.district_id, "report", {}, None, 200)
            report = await window_report(work, window_id, ReportQuery(("school", "level")), page)
        return f"{len(report.counts)} counts, {len(report.results)} results"

    async def agenda(self, team_id: UUID) -> str:
        """Reads the agenda of the next meeting of the team."""
        async with self.unit(self.api, self.client) as work:
            agenda = await read_agenda(work, team_id)
        return f"{len(agenda.entries)} items of {len({entry.kind for entry in agenda.entries})} kinds"

    async def attention(self, team_id: UUID, students: tuple[UUID, ...]) -> str:
        """Reads the list of what is due for the teacher of the team."""
        seen = {"reach": Reach.CASELOAD, "students": students, "teams": (team_id,), "person_id": team_id}
        async with self.unit(self.api, replace(self.client, **seen)) as work:
            shown = await attention(work, None, keyset(work.district_id, "attention", {}, None, 200))
        return f"{len(shown.items)} needs of {len({one.reason for one in shown.items})} reasons"

    async def signals(self) -> str:
        """Computes the signals that are due."""
        async with self.unit(self.worker, self.house) as work:
            return f"{await compute_signals(work)} signals"


async def _run(settings: Settings, students: int) -> bool:
    worker = open_engine(settings.url_of("worker"), name="bench jobs", timeouts=settings.sync_timeouts)
    api = open_engine(settings.url_of("api"), name="bench")
    district = await open_district(worker, settings.keyring, "bench", "bench", "UTC")
    bench = Bench(settings, worker, api, district)
    async with bench.unit(worker, bench.house) as work:
        await _fill(work, students)
    await as_owner(settings, "ANALYZE")
    window_id = await bench.window()
    took = {"report": min([await _timed("report", lambda: bench.report(window_id)) for _ in range(3)])}
    took["signals"] = await _timed("signals from nothing", bench.signals)
    async with bench.unit(worker, bench.house) as work:
        await _change_class(work)
    took["changed"] = await _timed("signals after one class's change", bench.signals)
    team_id = new_id()
    async with bench.unit(worker, bench.house) as work:
        await fill_team(work, team_id, TODAY)
    await as_owner(settings, "ANALYZE")
    took["agenda"] = min([await _timed("agenda", lambda: bench.agenda(team_id)) for _ in range(5)])
    async with bench.unit(worker, bench.house) as work:
        taught = await fill_teacher(work, team_id, TODAY)
    await as_owner(settings, "ANALYZE")
    took["attention"] = min([await _timed("attention", lambda: bench.attention(team_id, taught)) for _ in range(5)])
    await worker.dispose()
    await api.dispose()
    return all(took[name] < most for name, most in LIMITS.items())


def main() -> None:
    """Runs the benchmark; exits with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=100_000)
    options = parser.parse_args()
    with migrated() as settings:
        raise SystemExit(0 if uvloop.run(_run(settings, options.students)) else 1)


if __name__ == "__main__":
    main()

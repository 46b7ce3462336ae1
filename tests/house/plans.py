"""Finds the filters of lists that no index can serve under row-level security.

For this, it reads the plan that PostgreSQL makes for a list as role `api`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import Column
from sqlalchemy.sql import visitors

from app.access.permission import GRANTABLE, Can
from app.access.work import Work, needs
from app.catalog import CATALOG
from app.core.ids import new_id
from app.resources.catalog import Catalog, plain
from app.resources.compile.plan import compile_plan
from app.resources.compile.structure import pages, values
from app.resources.listing import Filter, Listing
from app.resources.select import REST_STYLE, ListRoot, Page, Root, Total

INDEX_SCANS = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
QUOTED = re.compile(r"'[^']*'")
COLUMN = re.compile(r"\b\w+\.(\w+)\b")


@needs(*sorted(GRANTABLE - {Can.ACT_FOR}))
async def explain(
    work: Work, root: Root, *, off: Sequence[str] = ("seqscan", "sort"), catalog: Catalog = CATALOG
) -> dict[str, Any]:
    """Returns PostgreSQL's plan of a read for the principal of `work`, with parts of the planner turned off."""
    plan = compile_plan(catalog, (root,), work.principal, REST_STYLE)
    given: dict[str, Any] = {**plan.constants, "district": work.district_id}
    given |= {"client": new_id(), "person": None, "reach": "district", "schools": [], "students": [], "opens": []}
    named: dict[Any, Any] = dict(values(root))
    for path, _ in pages(root):
        named |= {(*path, "limit"): 50, (*path, "more"): 51}
    given |= {name: named.get(path) for path, name in plan.roots[0].binds.items()}
    connection = await work.db.connection()
    for setting in off:
        await connection.exec_driver_sql(f"SET LOCAL enable_{setting} = off")
    parameters = tuple(given[name] for name in plan.parameters)
    answer = (await connection.exec_driver_sql(f"EXPLAIN (VERBOSE, FORMAT JSON) {plan.sql}", parameters)).scalar_one()
    explained: dict[str, Any] = (orjson.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return explained


def conditions(plan: dict[str, Any]) -> Iterator[str]:
    """Yields the conditions of filters and indexes in a query plan of PostgreSQL."""
    yield from (str(value) for name, value in plan.items() if name.endswith(("Cond", "Filter")))
    for inner in plan.get("Plans", ()):
        yield from conditions(inner)


def scans_of_a_district(plan: dict[str, Any], exceptions: set[str]) -> Iterator[str]:
    """Yields the scans that read every row of the district: without an index, or by an index's first column alone.

    An index in `exceptions` has only a few rows, and may be read as a whole.
    """
    kind = plan["Node Type"]
    if kind == "Seq Scan":
        yield f"every row of {plan['Relation Name']}"
    if kind in INDEX_SCANS and plan["Index Name"] not in exceptions:
        compared = set(COLUMN.findall(QUOTED.sub("", plan.get("Index Cond", "")))) - {"district_id"}
        if not compared:
            yield f"every row of the district in {plan['Index Name']}"
    for inner in plan.get("Plans", ()):
        yield from scans_of_a_district(inner, exceptions)


async def indexes_of_exceptions(db: asyncpg.Connection) -> set[str]:
    """Returns the names of indexes that have only few rows.

    They are the partial indexes whose condition contains `has_more`, and the indexes of the table of norms.
    """
    query = """SELECT indexrelid::regclass::text AS name FROM pg_index
               WHERE pg_get_expr(indpred, indrelid) LIKE '%has_more%' OR indrelid = 'benchmark'::regclass"""
    return {row["name"] for row in await db.fetch(query)}


def counts(listing: Listing) -> Iterator[tuple[str, ListRoot]]:
    """Yields reads of the total of a list: one read for each filter, and one for a search.

    A total has no order, so only an index on the filtered column can serve it.
    """
    page = Page((Total("total"),))
    for filter_ in listing.filters:
        yield f"{listing.name} by {filter_.name}", ListRoot("", listing.name, page, (), {filter_.name: value(filter_)})
    if listing.search is not None:
        yield f"{listing.name} by q", ListRoot("", listing.name, page, search="maya")


def value(filter_: Filter[Any]) -> Any:
    """Returns a value that the condition of a filter takes, and that few rows of a filled district satisfy."""
    if filter_.value_type is date:
        return date(2028, 1, 1) if filter_.name == "since" else date(2024, 2, 1)
    if filter_.name == "team" and filter_.bound is None:  # it is resolved into the team's id and a day
        return f"{new_id()} 2024-02-01"
    if filter_.bound is date:  # the filter's own value is turned into a day of the district
        return date(2024, 2, 1)
    return new_id() if filter_.bound is UUID else filter_.example


def column_of(mapped: Any) -> Column[Any]:
    """Returns the first column of a mapped expression."""
    return next(element for element in visitors.iterate(plain(mapped)) if isinstance(element, Column))


FILL = """
INSERT INTO org (district_id, id, name, type) SELECT $1, gen_random_uuid(), 'School ' || n, 'school'
FROM generate_series(1, 200) n;
INSERT INTO person (district_id, id, role, is_student, given_name, family_name, email, enabled, grades, school_ids,
                    user_ids, agent_sourced_ids, pinned)
SELECT p.district_id, gen_random_uuid(), p.role, p.is_student, md5(n::text), md5(n::text || 'x'), md5(n::text) || '@x',
       true, ARRAY[(n % 13)::text], ARRAY[o.id], '{{}}', '{{}}', '{{}}'
FROM person p, generate_series(1, {many}) n
JOIN (SELECT id, row_number() OVER () AS place FROM org WHERE district_id = $1) AS o ON o.place = n % 200 + 1
WHERE p.district_id = $1 AND p.id = ANY ($2);
INSERT INTO class (district_id, id, school_id, title, type, grades, subjects, subject_codes, periods,
                   academic_session_ids)
SELECT $1, gen_random_uuid(), o.id, 'Class ' || n, 'homeroom', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}'
FROM org o, generate_series(1, 10) n WHERE o.district_id = $1;
INSERT INTO enrollment (district_id, id, class_id, person_id, school_id, role, is_student, is_primary, source_id,
                        sourced_id)
SELECT $1, gen_random_uuid(), c.id, p.id, c.school_id, p.role, p.is_student, false, gen_random_uuid(), p.n::text
FROM (SELECT id, role, is_student, row_number() OVER () AS n FROM person WHERE district_id = $1) AS p
JOIN (SELECT id, school_id, row_number() OVER () AS n FROM class WHERE district_id = $1) AS c ON c.n = p.n % 2000 + 1;
INSERT INTO school_break (district_id, id, school_id, begins_on, ends_on, declared_at)
SELECT $1, gen_random_uuid(), o.id, date '2026-01-01' + n, date '2026-01-01' + n, now()
FROM org o, generate_series(1, 10) n WHERE o.district_id = $1;
INSERT INTO concern (district_id, id, student_id, school_ids, area_id, state, description, raised_on, created_at,
                     version)
SELECT $1, gen_random_uuid(), p.id, p.school_ids, a.id, CASE p.n % 10 WHEN 0 THEN 'raised' ELSE 'resolved' END, '',
       current_date, now(), 1
FROM (SELECT id, school_ids, row_number() OVER () AS n FROM person WHERE district_id = $1 AND is_student) AS p
JOIN (SELECT id, row_number() OVER () AS n FROM area WHERE district_id = $1) AS a ON a.n = p.n % 8 + 1;
INSERT INTO support (district_id, id, student_id, school_ids, intervention, area_id, level_id, measure_id, state,
                     lead_id, provider_id, starts_on, playbook_version_id, created_at, version)
SELECT $1, c.id, c.student_id, c.school_ids, '', c.area_id, l.id, m.id,
       CASE c.n % 10 WHEN 0 THEN 'active' ELSE 'ended' END, p.id, p.id, current_date, v.id, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c
JOIN (SELECT id, row_number() OVER () AS n FROM level WHERE district_id = $1) AS l ON l.n = c.n % 3 + 1
JOIN (SELECT id, row_number() OVER () AS n FROM measure WHERE district_id = $1) AS m ON m.n = c.n % 5 + 1
JOIN (SELECT id, row_number() OVER () AS n FROM person WHERE district_id = $1 AND NOT is_student) AS p
  ON p.n = c.n % 1000 + 1
CROSS JOIN (SELECT id FROM playbook_version WHERE district_id = $1 LIMIT 1) AS v;
INSERT INTO support_group (district_id, id, school_id, name, intervention, area_id, level_id, lead_id, provider_id,
                           minutes_per_session, sessions_per_week, starts_on, state, size, created_at, version)
SELECT $1, s.id, o.id, '', '', s.area_id, s.level_id, s.lead_id, s.provider_id, 30, 3, current_date,
       CASE s.n % 10 WHEN 0 THEN 'active' ELSE 'ended' END, 1, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM support WHERE district_id = $1) AS s
JOIN (SELECT id, row_number() OVER () AS n FROM org WHERE district_id = $1) AS o ON o.n = s.n % 200 + 1;
INSERT INTO phase (district_id, id, student_id, school_ids, support_id, number, level_id, begins_on, baseline, goal,
                   goal_on, minutes_per_session, sessions_per_week, because)
SELECT $1, id, student_id, school_ids, id, 1, level_id, current_date, 1, 2, current_date, 30, 3, ''
FROM support WHERE district_id = $1;
INSERT INTO verdict (district_id, id, student_id, school_ids, support_id, phase_id, measure_id, number, state, because,
                     sentence, required_rate, rule, rule_version, parameters, score_ids, playbook_version_id, judged_at)
SELECT $1, id, student_id, school_ids, id, id, measure_id, 1, 'responding', '[]', '', 1, 'r', 1, '{{}}', '{{}}',
       playbook_version_id, now() FROM support WHERE district_id = $1;
INSERT INTO response_state (district_id, student_id, school_ids, support_id, verdict_id, verdict_ids, state, since,
                            since_on)
SELECT $1, student_id, school_ids, support_id, id, ARRAY[id],
       CASE row_number() OVER () % 10 WHEN 0 THEN 'not_responding' ELSE 'responding' END, now(), current_date
FROM verdict WHERE district_id = $1;
INSERT INTO score (district_id, id, student_id, school_ids, measure_id, purpose, taken_on, attempt, value, recorded_at,
                   version)
SELECT $1, gen_random_uuid(), student_id, school_ids, measure_id, 'progress', date '2024-01-01' + (n % 1500)::integer,
       1, 1, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM support WHERE district_id = $1) AS s;
INSERT INTO decision (district_id, id, student_id, school_ids, support_id, kind, decided_on, playbook_version_id,
                      created_at)
SELECT $1, id, student_id, school_ids, id, 'continue', current_date, playbook_version_id, now()
FROM support WHERE district_id = $1;
INSERT INTO team (district_id, id, name, purpose, school_id, state, formed_on, created_at, version)
SELECT $1, gen_random_uuid(), '', CASE n % 10 WHEN 0 THEN 'grade' ELSE 'course' END, o.id,
       CASE n % 10 WHEN 1 THEN 'active' ELSE 'archived' END, current_date, now(), 1
FROM org o, generate_series(1, 10) n WHERE o.district_id = $1;
INSERT INTO team_scope (district_id, id, team_id, team_school_id, kind, served_school_id, grade, school_ids, from_on,
                        version)
SELECT $1, id, id, school_id, 'grade', school_id, '01', '{{}}', current_date, 1 FROM team WHERE district_id = $1;
INSERT INTO team_student (district_id, id, student_id, school_ids, team_id, team_school_id, scope_id, from_on)
SELECT $1, gen_random_uuid(), p.id, p.school_ids, t.id, t.school_id, t.id, current_date
FROM (SELECT id, school_ids, row_number() OVER () AS n FROM person WHERE district_id = $1 AND is_student) AS p
JOIN (SELECT id, school_id, row_number() OVER () AS n FROM team WHERE district_id = $1) AS t ON t.n = p.n % 2000 + 1;
INSERT INTO note (district_id, id, student_id, school_ids, about_kind, about_id, text, written_on, created_at, version)
SELECT $1, gen_random_uuid(), student_id, school_ids, 'concern', id, '', current_date, now(), 1
FROM concern WHERE district_id = $1;
INSERT INTO note (district_id, id, school_ids, agenda_team_id, agenda_team_school_id, about_kind, about_id, text,
                  written_on, created_at, version)
SELECT $1, gen_random_uuid(), '{{}}', id, school_id, 'agenda_item', id, '', current_date, now(), 1
FROM team WHERE district_id = $1;
INSERT INTO hypothesis (district_id, id, student_id, school_ids, concern_id, kind_id, statement, refuted_if,
                        evidence_for, evidence_against, state, support_id, proposed_on, created_at, version)
SELECT $1, gen_random_uuid(), c.student_id, c.school_ids, c.id, k.id, '', '', '{{}}', '{{}}',
       CASE c.n % 10 WHEN 0 THEN 'open' ELSE 'refuted' END, c.id, current_date, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c
CROSS JOIN (SELECT id FROM hypothesis_kind WHERE district_id = $1 LIMIT 1) AS k;
INSERT INTO signal_rule (district_id, id, code, number, kind, parameters, published_at)
VALUES ($1, md5('rule' || $1::uuid::text)::uuid, 'rule', 1, 'failing', '{{}}', now());
INSERT INTO signal (district_id, id, student_id, school_ids, rule_id, kind, area_id, state, digest, seen_on, result_ids,
                    created_at, version)
SELECT $1, gen_random_uuid(), student_id, school_ids, md5('rule' || $1::uuid::text)::uuid,
       (ARRAY['failing', 'grade_drop', 'missing_work', 'unmet_goal'])[1 + n % 4], area_id,
       (ARRAY['suggested', 'accepted', 'dismissed', 'lapsed'])[1 + n % 4], n::text, current_date, '{{}}', now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c;
INSERT INTO screening_window (district_id, id, season, school_year, school_id, opens_on, closes_on, state, created_at,
                              version)
SELECT $1, gen_random_uuid(), 'fall', 1900 + n, o.id, make_date(1899 + n, 9, 1), make_date(1899 + n, 9, 15),
       CASE n % 10 WHEN 0 THEN 'scheduled' ELSE 'closed' END, now(), 1
FROM org o, generate_series(1, 10) n WHERE o.district_id = $1;
INSERT INTO attendance_record (district_id, id, student_id, school_ids, day, status, excused, recorded_at, version)
SELECT $1, gen_random_uuid(), student_id, school_ids, current_date - (n % 300)::int, 'absent', false, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c;
INSERT INTO incident (district_id, id, student_id, school_ids, occurred_at, occurred_on, kind_id, shared_reference,
                      recorded_at, version)
SELECT $1, gen_random_uuid(), c.student_id, c.school_ids, now() - make_interval(days => (n % 300)::int),
       current_date - (n % 300)::int, k.id, n::text, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c
CROSS JOIN (SELECT id FROM incident_kind WHERE district_id = $1 LIMIT 1) AS k;
INSERT INTO core_stall (district_id, id, rule_id, window_id, window_before_id, measure_id, area_id, school_id, grade,
                        state, digest, seen_on, fell_by, counted_at_least, created_at, version)
SELECT $1, gen_random_uuid(), md5('rule' || $1::uuid::text)::uuid, w.id, w.id, m.id, a.id, w.school_id, n::text,
       (ARRAY['suggested', 'accepted', 'dismissed', 'lapsed'])[1 + n % 4], w.id || ' ' || n, current_date, 10, 20,
       now(), 1
FROM screening_window AS w CROSS JOIN generate_series(1, 4) n
CROSS JOIN (SELECT id FROM area WHERE district_id = $1 LIMIT 1) AS a
CROSS JOIN (SELECT id FROM measure WHERE district_id = $1 LIMIT 1) AS m
WHERE w.district_id = $1;
INSERT INTO intervention (district_id, id, code, number, state, name, area_ids, levels, steps, checklist, languages,
                          created_at, version)
SELECT $1, gen_random_uuid(), md5(n::text), 1, CASE n % 10 WHEN 0 THEN 'published' ELSE 'retired' END, '', '{{}}',
       '{{}}', '{{}}', '{{}}', '{{}}', now(), 1
FROM generate_series(1, 4000) n;
INSERT INTO meeting_series (district_id, id, team_id, team_school_id, rule, begins_at, minutes, state, created_at,
                            version)
SELECT $1, id, id, school_id, '', now(), 30, CASE n % 10 WHEN 0 THEN 'active' ELSE 'ended' END, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM team WHERE district_id = $1) AS t;
INSERT INTO meeting (district_id, id, team_id, team_school_id, series_id, occurs_on, starts_at, minutes, state, present,
                     agenda_order, fell_on_break, created_at, version)
SELECT $1, gen_random_uuid(), id, school_id, id, current_date + n, now(), 30,
       CASE n % 10 WHEN 0 THEN 'scheduled' ELSE 'closed' END, '{{}}', '{{}}', false, now(), 1
FROM team, generate_series(1, 10) n WHERE district_id = $1;
INSERT INTO agenda_item (district_id, id, team_id, team_school_id, student_id, school_ids, meeting_id, kind,
                         subject_kind, subject_id, basis, since, reasons, rank, state, times_carried, created_at,
                         version)
SELECT $1, gen_random_uuid(), m.team_id, m.team_school_id, c.student_id, c.school_ids, m.id, 'new_concern', 'concern',
       c.id, '', current_date, '[]', 1, CASE c.n % 10 WHEN 0 THEN 'open' ELSE 'discussed' END, 0, now(), 1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c
JOIN (SELECT *, row_number() OVER () AS n FROM meeting WHERE district_id = $1) AS m ON m.n = c.n;
INSERT INTO action_item (district_id, id, team_id, team_school_id, student_id, school_ids, text, owner_id, due_on,
                         state,
                         agreed_on, created_at, version)
SELECT $1, gen_random_uuid(), m.team_id, m.team_school_id, c.student_id, c.school_ids, '', p.id,
       date '2024-01-01' + (c.n % 1500)::integer, CASE c.n % 10 WHEN 0 THEN 'open' ELSE 'done' END, current_date, now(),
       1
FROM (SELECT *, row_number() OVER () AS n FROM concern WHERE district_id = $1) AS c
JOIN (SELECT *, row_number() OVER () AS n FROM meeting WHERE district_id = $1) AS m ON m.n = c.n
JOIN (SELECT id, row_number() OVER () AS n FROM person WHERE district_id = $1 AND NOT is_student) AS p
  ON p.n = c.n % 1000 + 1;
INSERT INTO calendar_link (district_id, id, digest, team_id, created_by, created_on, until_on, created_at, version)
SELECT district_id, gen_random_uuid(), 'digest ' || id, id, gen_random_uuid(), DATE '2026-09-01', DATE '2027-08-01',
    now(), 1
FROM team WHERE district_id = $1;
INSERT INTO team_member (district_id, id, team_id, team_school_id, person_id, role, from_on, version)
SELECT $1, gen_random_uuid(), t.id, t.school_id, p.id, 'member', current_date, 1
FROM (SELECT *, row_number() OVER () AS n FROM team WHERE district_id = $1) AS t
JOIN (SELECT id, row_number() OVER () AS n FROM person WHERE district_id = $1 AND NOT is_student) AS p
  ON p.n = t.n % 1000 + 1;
"""
"""Makes a district large enough for PostgreSQL to prefer a narrow index to a wide one."""


async def fill(owner: asyncpg.Connection, district: UUID, people: Sequence[UUID], many: int = 2000) -> None:
    """Fills the tables of the lists: makes `many` copies of each of these people, and creates records about the
    students.
    """
    for statement in FILL.format(many=many).split(";")[:-1]:
        named = [district, list(people)][: 2 if "$2" in statement else 1]
        await owner.execute(statement, *named)
    # Not the empty tables: PostgreSQL takes one that it has never analyzed for large enough to need an index.
    filled = sorted(set(re.findall(r"INSERT INTO (\w+)", FILL)))
    await owner.execute(f"ANALYZE {', '.join(filled)}")

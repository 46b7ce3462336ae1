"""Gives people new sourcedIds after a source has changed the sourcedIds of known people (rekey).

A map of old to new sourcedIds is planned from a held run, then applied or discarded. An applied map can be undone. A
person to be removed matches a person to be created if only these two have the same value in the compared field. Other
people are counted and stay unchanged. Only sourcedIds change, unless two rows become one person again (`plan_rekey`).

This file exceeds 250 lines so that planning, applying and undoing a map are in one place.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.plural import pluralize
from app.core.text import unquote_formula
from app.sis.engine.intake.roles import match_roles, rename_roles
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.plan import kept_deliveries, load_plan, plan_columns
from app.sis.engine.report import WENT, Counts, Report
from app.sis.engine.review.changes import list_rekeyed
from app.sis.engine.run import RunRequest, begin, end, update_watermarks
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME, Kind
from app.sis.models import SisRun
from app.sis.port import SourceInconsistent
from app.sis.rules import RunState
from app.sis.runs.plans.likely_rekeys import CREATED, likely_pairs, match_known, reunite, separate
from app.sis.runs.queries import run as find_run
from app.sis.service import open_stage

MODE: Final = "rekey"
MATCHES: Final = ("identifier", "email")
LIKELY: Final = "likely"
"""The method that matches people whom the run's report lists as likely the same person."""
GIVEN: Final = "map"
"""The method of a request that contains the map itself."""
FORMER: Final = "person.former"
"""The kind of the external id that keeps a person's former sourcedId. It is never used to match rows."""
MAX_PAIRS: Final = 5_000_000
MAX_GIVEN: Final = 10_000
"""The largest number of pairs in a map that an API accepts and stores in the run's row."""
SMALL: Final = 16 << 20
Pairs = Sequence[tuple[str, str]]


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Reads pairs of an old and a new sourcedId from a CSV file, with or without a header; raises `Invalid`."""
    pairs: list[tuple[str, str]] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.reader(lines, strict=True), start=1):
                cells = [unquote_formula(cell.strip()) for cell in row]
                if not any(cells) or (number == 1 and cells == ["old", "new"]):
                    continue
                if len(cells) != 2 or not all(cells) or len(pairs) >= MAX_PAIRS:
                    raise _invalid_map(f"Row {number} of {file.name} is not an old and a new sourcedId.")
                pairs.append((cells[0], cells[1]))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise _invalid_map(f"{file.name} cannot be read as CSV in UTF-8 ({type(error).__name__}).") from None
    return pairs


def validate_map(match: str | None, pairs: Pairs | None) -> None:
    """Raises `Invalid` unless the caller gives either a field to match by or a map, and not both.

    Also raises `Invalid` if an old or a new sourcedId occurs twice in the map.
    """
    if (match is None) == (pairs is None):
        raise Invalid([Violation("", "rekey.which", "Give either a field to match people by, or a map.")])
    violations: list[Violation] = []
    first: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(pairs or ()):
        for side, sourced_id in zip(("old", "new"), pair, strict=True):
            first_place = first.setdefault((side, sourced_id), place)
            if first_place != place:
                detail = f"This {side} sourcedId is in /map/{first_place} already."
                violations.append(Violation(f"/map/{place}/{side}", f"rekey.{side}_twice", detail))
    if violations:
        raise Invalid(violations)


def files_to_rekey(held: SisRun, match: str | None, pairs: Pairs | None) -> dict[str, Any]:
    """Returns the files in the plan of a held run, keyed by kind of record, after checking that a rekey can be planned.

    Raises `Conflict` if the run is not held, or if its people cannot be matched by `match`. A run that was
    already applied is accepted too if `match` is `likely`.
    """
    files: dict[str, Any] = (held.plan or {}).get("files", {})
    if match == LIKELY and not likely_pairs(held):
        raise Conflict("The run names nobody who is likely the same person.", code="rekey.match")
    if match == LIKELY and held.state == RunState.APPLIED:
        return {"person": {"file": file_of(held, BY_NAME["person"])}}
    if held.state != RunState.HELD or "person" not in files:
        raise Conflict("Only a run that is held with people in its plan can be re-keyed.", code="run.not_held")
    if not pairs and match != LIKELY and (match not in MATCHES or match not in files["person"]["header"]):
        raise Conflict(
            f"The source sends no {match} of people: match them by another field, or by a map of your own.",
            code="rekey.match",
        )
    return files


async def plan_requested_rekey(engine: AsyncEngine, keyring: Keyring, district_id: UUID, request: RunRequest) -> Report:
    """Plans to give people new sourcedIds, as a client has requested through an API. Returns the report of the plan.

    The row of the requested run has the parameters of the request. Raises the errors of `plan_rekey`.
    """
    async with unit(engine, system_principal(district_id, "sync"), keyring, "sync rekey") as work:
        held_id, match, pairs = await _load_request(work, request)
    return await plan_rekey(engine, keyring, district_id, held_id, match, pairs, request)


@needs(Can.SYNC_ROSTER)
async def _load_request(work: Work, request: RunRequest) -> tuple[UUID, str, Pairs]:
    if request.run_id is None:
        raise NotFound("run")
    parameters = ((await find_run(work, request.run_id)).run.plan or {})["asked"]
    pairs = [(old, new) for old, new in parameters["pairs"]]
    return UUID(parameters["of"]), parameters["match"] or GIVEN, pairs


async def plan_rekey(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    held_id: UUID,
    match: str,
    pairs: Pairs = (),
    request: RunRequest = RunRequest(),
) -> Report:
    """Plans new sourcedIds for people of the run `held_id`, and returns the report of this plan.

    People are matched by the field `match` (`identifier` or `email`), by the pairs in the run's report (`likely`), or
    by the given `pairs`. The run `held_id` must be held, that is, wait for approval. With `likely`, it may also have
    been applied. If it has then removed a person and created the same person as a new row, the two rows are joined,
    provided that the new row has no records yet. The new plan waits for approval.

    Raises `NotFound`; `Conflict` if the run is in another state, or lacks the field to match by; and `AlreadyRunning`.
    """
    report = Report(request.run_id or new_id(), began_at=now(), mode=MODE)
    async with district_sync_lease(engine, keyring, district_id):
        async with unit(engine, system_principal(district_id, "sync"), keyring, "sync rekey") as work:
            await _plan(work, report, held_id, match, pairs, request)
    return report


@needs(Can.SYNC_ROSTER)
async def _plan(work: Work, report: Report, held_id: UUID, match: str, pairs: Pairs, request: RunRequest) -> None:
    held = (await find_run(work, held_id)).run
    files = files_to_rekey(held, match, pairs)
    await begin(work, report, held.source_id, dry=False, request=request)
    stage = await open_stage(work, report.run_id, held.source_id, SMALL)
    if match == LIKELY:
        pairs = likely_pairs(held)
    if held.state == RunState.APPLIED or (match == LIKELY and any(pair.get("reused") for pair in held.rekeys)):
        counts = await match_known(stage, pairs, held_id)
    else:
        await load_plan(stage, held_id, ["person"])
        await _stage_candidates(stage, match, pairs)
        counts = await _match_people(stage)
    if "role" in files and held.plan:
        await load_plan(stage, held_id, ["role"])
        columns = [name for name, _ in plan_columns(BY_NAME["role"], kept_deliveries(held.plan)["role"])]
        counts["roles"] = await match_roles(stage, columns)
    digest = await _digest(stage)
    kept = f"SELECT r.row_id, r.old, r.new FROM {stage.of_run('kept_rekey')} AS r WHERE r.kind"
    report.listed = await list_rekeyed(stage, "person", f"{kept} IN ('person', '{CREATED}')")
    report.listed += await list_rekeyed(stage, "role", f"{kept} = 'role'")
    await stage.clear()
    by, matched = match if match in (*MATCHES, LIKELY) else GIVEN, counts["matched"]
    report.plan = {"digest": digest, "files": {}, "rekey": {"of": str(held_id), "by": by, **counts}}
    report.kinds["person"] = Counts(files["person"]["file"], counts["gone"], matched, updated=matched)
    if count := counts.get("roles"):
        report.kinds["role"] = Counts(files["role"]["file"], count, count, updated=count)
    report.state, report.exit_code, report.ended_at = RunState.HELD, 4, now()
    people, others = f"Of {counts['gone']:,} people", counts["ambiguous"] + counts["unmatched"]
    if match == LIKELY:
        report.sentence = (
            f"{people} whom the run names, {matched:,} get the sourcedId that is likely theirs now; {others:,} cannot, "
            "and stay unchanged. "
        )
    else:
        report.sentence = (
            f"{people} to be removed, {matched:,} are the same as people to be created with another sourcedId, by "
            f"{'the map that was given' if pairs else by}; {counts['ambiguous']:,} are ambiguous and "
            f"{counts['unmatched']:,} unmatched, and stay unchanged. "
        )
    report.sentence += "Nothing is changed before this is approved."
    await end(work, report, claim_number=request.claim_number)


async def _match_people(stage: Stage) -> dict[str, int]:
    """Matches the people whom the held plan would remove with those whom it would create.

    Writes each match to the run's map of old to new sourcedIds. Returns five counts of people: `gone` (to be removed),
    which is the sum of `matched`, `ambiguous` and `unmatched`, and `came` (to be created).
    """
    people = stage.of_run("candidate")
    matched = await stage.run(
        f"""INSERT INTO staging.kept_rekey (district_id, run_id, kind, row_id, old, new)
            SELECT :district, :run, 'person', o.id, o.sourced_id, n.sourced_id FROM {people} AS o
            JOIN {people} AS n ON n.value = o.value AND n.comes
            WHERE NOT o.comes AND o.alike = 1 AND n.alike = 1 AND o.is_student = n.is_student ON CONFLICT DO NOTHING"""
    )
    (row,) = await stage.rows(
        f"""SELECT count(*) FILTER (WHERE NOT comes) AS gone, count(*) FILTER (WHERE comes) AS came,
                   count(*) FILTER (WHERE NOT comes AND (alike > 1 OR EXISTS (
                       SELECT FROM {people} AS n WHERE n.comes AND n.value = p.value
                        AND (n.alike > 1 OR n.is_student <> p.is_student)))) AS ambiguous
            FROM {people} AS p"""
    )
    counts = {"gone": row["gone"], "came": row["came"], "matched": matched, "ambiguous": row["ambiguous"]}
    counts["unmatched"] = counts["gone"] - matched - counts["ambiguous"]
    return counts


async def _stage_candidates(stage: Stage, match: str, pairs: Pairs) -> None:
    """Writes to a staging table the people whom the held plan would remove, and those whom it would create.

    Each person is staged with the value to match by, and with the number of people who share this value.
    """
    plan = stage.of_run("plan", "person")
    gone, came, unchanged, joined = f"t.{match}", f"p.{match}", f"k.{match}", ""
    if pairs:
        await stage.insert_records(
            "given_pair", ("number", "old", "new"), [(number, *pair) for number, pair in enumerate(pairs)]
        )
        gone = came = "g.number::text"
        unchanged = "NULL::text"
        joined = f"JOIN {stage.of_run('given_pair')} AS g ON p.sourced_id = g.{{side}}"
    await stage.insert(
        "candidate",
        "",
        ("place", "sourced_id", "id", "comes", "is_student", "value", "alike"),
        f"""SELECT :district, :run, row_number() OVER (), f.sourced_id, f.id, f.comes, f.is_student, f.value,
                   count(*) OVER (PARTITION BY f.comes, f.value)
                   + (SELECT count(*) FROM person AS k WHERE k.district_id = :district AND k.removed_at IS NULL
                       AND lower(btrim({unchanged})) = f.value AND NOT EXISTS (
                           SELECT FROM {plan} AS w WHERE w.id = k.id AND w.action IN {WENT}))
            FROM (SELECT p.sourced_id, p.id, false AS comes, t.is_student, lower(btrim({gone})) AS value
                  FROM {plan} AS p JOIN person AS t ON t.district_id = :district AND t.id = p.id
                  {joined.format(side="old")} WHERE p.action IN {WENT}
                  UNION ALL
                  SELECT p.sourced_id, p.id, true, p.is_student, lower(btrim({came})) FROM {plan} AS p
                  {joined.format(side="new")} WHERE p.action = 'create') AS f""",
    )
    if pairs:
        # A sourcedId that the map contains twice is not used at all.
        await stage.run(
            f"""UPDATE staging.candidate AS p SET alike = 2
                WHERE p.district_id = :district AND p.run_id = :run AND p.sourced_id IN (
                    SELECT q.sourced_id FROM {stage.of_run("candidate")} AS q
                    GROUP BY q.sourced_id, q.comes HAVING count(*) > 1)"""
        )


@needs(Can.SYNC_ROSTER)
async def apply_rekey(work: Work, run: SisRun, report: Report) -> None:
    """Applies an approved map of old to new sourcedIds: each matched person gets the new sourcedId.

    Raises `SourceInconsistent` if the people have changed since the map was planned.
    """
    stage = await open_stage(work, run.id, run.source_id, SMALL)
    if run.plan is None or await _digest(stage) != run.plan["digest"]:
        raise _roster_changed()
    people, roles = (
        f"""SELECT r.old, r.new, r.row_id AS {kind}_id FROM {stage.of_run("kept_rekey")} AS r
            WHERE r.kind = '{kind}'"""
        for kind in ("person", "role")
    )
    await _rename(stage, people)
    await _rename_roles(stage, roles)
    if not await reunite(stage, report):
        raise _roster_changed()
    matched = int(run.plan["rekey"]["matched"])
    report.state, report.exit_code, report.ended_at = RunState.APPLIED, 0, now()
    renamed = pluralize(matched, "person has the", "people have their")
    report.sentence = f"{renamed} new sourcedId. Run the sync again."
    await update_watermarks(work, run.source_id, False, MODE, None, undone=True)


async def undo_rekey(stage: Stage, undone: SisRun, report: Report) -> None:
    """Undoes the run `undone`, which gave people new sourcedIds: the people get their old sourcedIds back.

    Raises `SourceInconsistent` if the people have changed since that run was applied.
    """
    people, roles = (
        f"""SELECT c.before ->> 'became' AS old, c.before ->> 'sourced_id' AS new, c.row_id AS {kind}_id
            FROM sis_change AS c WHERE c.district_id = :district AND c.run_id = '{undone.id}' AND c.action = 'rekey'
             AND c.kind = '{kind}' AND c.before ->> 'created' IS NULL"""
        for kind in ("person", "role")
    )
    count = await _rename(stage, people) + await separate(stage, undone.id)
    report.kinds["person"] = Counts(file_of(undone, BY_NAME["person"]), count, count, updated=count)
    if count := await _rename_roles(stage, roles):
        report.kinds["role"] = Counts(file_of(undone, BY_NAME["role"]), count, count, updated=count)


def file_of(run: SisRun, kind: Kind) -> str:
    """Returns the file from which a run read a kind of record. If its report names none, returns the kind's plural."""
    return str((run.counts.get(kind.name) or {}).get("file") or kind.plural)


async def _rename(stage: Stage, pairs: str) -> int:
    """Gives people new sourcedIds, logs the changes, and returns the number of people.

    `pairs` is a query with the columns `old`, `new` and `person_id`. People may exchange their sourcedIds.
    """
    expected = await stage.count(f"SELECT count(*) FROM ({pairs}) AS r")
    taken = await stage.count(
        f"""SELECT count(*) FROM ({pairs}) AS r JOIN external_id AS e ON e.district_id = :district
             AND e.source_id = :source AND e.kind = 'person' AND e.sourced_id = r.new
            WHERE r.new NOT IN (SELECT w.old FROM ({pairs}) AS w)"""
    )
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("rekey", "r.old")}, :run, 'person', r.person_id, 'rekey',
                   jsonb_build_object('sourced_id', r.old, 'became', r.new)
            FROM ({pairs}) AS r ON CONFLICT DO NOTHING"""
    )
    # Two steps, because a unique index is checked row by row, and people may exchange their sourcedIds.
    between = "'\u0001' || r.new"
    done = 0 if taken else await _rename_rows(stage, pairs, "r.old", between)
    if done:
        done = await _rename_rows(stage, pairs, between, "r.new")
    if taken or done != expected:
        raise _roster_changed()
    await stage.run(
        f"""INSERT INTO external_id (district_id, source_id, kind, sourced_id, row_id)
            SELECT :district, :source, '{FORMER}', r.old, r.person_id FROM ({pairs}) AS r
            ON CONFLICT (district_id, source_id, kind, sourced_id) DO UPDATE SET row_id = excluded.row_id"""
    )
    return done


async def _rename_rows(stage: Stage, pairs: str, before: str, after: str) -> int:
    """Replaces the sourcedId of each person in the query `pairs`, and returns the number of people.

    `before` and `after` are SQL expressions for the present sourcedId and the new one.
    """
    return await stage.count(
        f"""WITH renamed AS (
            UPDATE external_id AS e SET sourced_id = {after} FROM ({pairs}) AS r
            WHERE e.district_id = :district AND e.source_id = :source AND e.kind = 'person'
              AND e.sourced_id = {before} AND e.row_id = r.person_id RETURNING 1)
        SELECT count(*) FROM renamed"""
    )


async def _rename_roles(stage: Stage, pairs: str) -> int:
    expected, done = await rename_roles(stage, pairs)
    if expected != done:
        raise _roster_changed()
    return done


@needs(Can.SYNC_ROSTER)
async def list_pairs(work: Work, run_id: UUID) -> list[tuple[str, str]]:
    """Returns the pairs of old and new sourcedIds of a map that awaits approval, for an operator to review.

    Raises `NotFound` for an unknown run, and `Conflict` if the run has no such map.
    """
    run = (await find_run(work, run_id)).run
    if not run.plan or "rekey" not in run.plan:
        raise Conflict("No map of sourcedIds waits in this run.", code="run.not_held")
    stage = await open_stage(work, run_id, run.source_id, SMALL)
    rows: list[Any] = await stage.rows(
        f"SELECT r.old, r.new FROM {stage.of_run('kept_rekey')} AS r WHERE r.kind <> 'role' ORDER BY r.old"
    )
    return [(row["old"], row["new"]) for row in rows]


async def _digest(stage: Stage) -> str:
    (row,) = await stage.rows(
        f"""SELECT left(md5(coalesce(string_agg(r.line, chr(10) ORDER BY r.line), '')), 16) AS digest
            FROM (SELECT p.kind || ' ' || p.old || ' ' || p.new || ' ' || p.row_id AS line
                  FROM {stage.of_run("kept_rekey")} AS p) AS r"""
    )
    return str(row["digest"])


def _roster_changed() -> SourceInconsistent:
    return SourceInconsistent("The roster has changed since the map was made.", code="run.roster_changed")


def _invalid_map(detail: str) -> Invalid:
    return Invalid([Violation("/match", "rekey.file", detail)])

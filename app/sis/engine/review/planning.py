"""Plans the changes of a roster delivery. Never applies a plan.

For each kind of record, it stages the rows, plans the changes, and puts rows that cannot be imported into quarantine.
Rows outside the source's scope are left out. These are the rows of schools that were not chosen, and of excluded users.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Mapping

from app.core.plural import pluralize
from app.sis.engine import report as reporting
from app.sis.engine.intake.load import drop_empty_rows
from app.sis.engine.intake.supplements import stage_with_supplements
from app.sis.engine.plan import write_keys, write_plan
from app.sis.engine.report import Counts, Report
from app.sis.engine.review.quarantine import name_quarantined
from app.sis.engine.review.scope import (
    SourceScope,
    count_outside,
    describe,
    find_other_schools,
    leave_out_rows,
    warn_of_unknown_users,
)
from app.sis.engine.stage import ALIASED, Stage, fresh_id
from app.sis.kinds import KINDS, Kind
from app.sis.port import Delivery, Progress


async def plan_kinds(
    stage: Stage, deliveries: Mapping[str, Delivery], report: Report, progress: Progress, scope: SourceScope
) -> None:
    """Plans the changes of all kinds of record, and counts the rows. A kind comes after the kinds to which it refers.

    `scope` restricts the run to some schools. Roster rows outside the scope are left out of the counts of known rows.
    Raises `SourceRefused` if the scope names a school that the source does not have.
    """
    is_restricted = bool(scope.schools or scope.excluded)
    left_out, outside = {}, {}
    for kind in KINDS:
        left_out[kind.name] = await _plan_kind(stage, kind, deliveries, report, progress, is_restricted)
        if kind.name == "org" and is_restricted:
            await find_other_schools(stage, scope)
    for kind in KINDS if is_restricted else ():
        outside[kind.name] = await count_outside(stage, kind)
        report.kinds[kind.name].known -= outside[kind.name]
    report.warnings += describe(report, left_out, outside)


async def _plan_kind(
    stage: Stage,
    kind: Kind,
    deliveries: Mapping[str, Delivery],
    report: Report,
    progress: Progress,
    is_restricted: bool,
) -> int:
    """Writes the delivered rows of one kind of record to the staging table, plans its changes and counts them.

    Returns the number of delivered rows that are left out because they are outside the source's scope.
    """
    counts = report.kinds.setdefault(kind.name, Counts())
    counts.known = await reporting.count_known(stage, kind)
    delivery = deliveries.get(kind.name)
    if delivery is None:
        if kind in ALIASED:
            await write_keys(stage, kind, None)
        return await leave_out_rows(stage, kind) if is_restricted else 0
    counts.file = delivery.file
    counts.fetched = await stage_with_supplements(stage, kind, delivery, progress)
    if is_restricted and kind.name == "person" and delivery.complete:
        await warn_of_unknown_users(stage)
    left_out = await leave_out_rows(stage, kind) if is_restricted else 0
    counts.fetched -= left_out
    if kind in ALIASED:
        await write_keys(stage, kind, delivery)
    faulty, nameless, gone = await reporting.count_faults(stage, kind)
    if nameless and delivery.has_empty_rows and (empty := await _leave_out_empty_rows(stage, kind, delivery)):
        counts.fetched, faulty, nameless = counts.fetched - empty, faulty - empty, nameless - empty
    if nameless:
        report.warnings.append(
            f"{delivery.file}: {pluralize(nameless, 'row has', 'rows have')} no sourcedId and cannot be identified, so "
            f"none of the known {kind.plural} is removed for being absent."
        )
    await write_plan(stage, kind, delivery, complete=delivery.complete and not nameless)
    actions = await reporting.count_planned(stage, kind)
    if faulty or actions.get("refuse"):
        await _quarantine(stage, kind, delivery)
    report.warnings += await reporting.warn_of_unknown_references(stage, kind, delivery)
    counts.created = actions.get("create", 0)
    counts.restored = actions.get("restore", 0)
    counts.updated = actions.get("update", 0) + counts.restored
    counts.removed, counts.absent = actions.get("remove", 0), actions.get("absent", 0)
    counts.quarantined = await reporting.count_quarantined(stage, kind)
    counts.expired = await reporting.count_expired(stage, kind) if counts.removed + counts.absent else 0
    counts.ignored = gone - counts.removed
    counts.unchanged = counts.fetched - counts.ignored - counts.quarantined - (counts.changes - counts.absent)
    return left_out


async def _leave_out_empty_rows(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Deletes the staged rows of one kind of record that have only empty cells, and returns their number."""
    rows = await drop_empty_rows(stage, delivery)
    if rows:
        await stage.run(
            f"""DELETE FROM {stage.table("staged", kind.name)} AS s
                WHERE s.district_id = :district AND s.run_id = :run AND s.sourced_id IS NULL
                  AND s.row_number IS NOT NULL
                  AND s.row_number NOT IN (SELECT r.row_number FROM {stage.raw(kind.name)} AS r)"""
        )
    return rows


async def name_all_quarantined(stage: Stage, deliveries: Mapping[str, Delivery], report: Report) -> None:
    """Adds a sourcedId and a digest to each quarantined row of this run, and counts the acknowledged rows."""
    for kind in KINDS:
        counts = report.kinds[kind.name]
        if counts.quarantined and kind.name in deliveries:
            counts.acknowledged = await name_quarantined(stage, kind, deliveries[kind.name])


async def _quarantine(stage: Stage, kind: Kind, delivery: Delivery) -> None:
    """Puts each row that cannot be imported into quarantine, with its file, row number, field and error code."""
    for table, field, code, condition in (
        ("staged", "split_part(r.fault, ' ', 1)", "split_part(r.fault, ' ', 2)", "r.fault IS NOT NULL"),
        ("plan", "r.field", _reference_code_sql(stage, kind, delivery), "r.action = 'refuse'"),
    ):
        await stage.run(
            f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
                SELECT :district, {fresh_id("quarantine " + kind.name, "r.row_number::text")}, :run, '{kind.name}',
                       '{delivery.file}', r.row_number + 1, {field}, {code}
                FROM {stage.of_run(table, kind.name)} AS r WHERE {condition}
                ON CONFLICT DO NOTHING"""
        )


def _reference_code_sql(stage: Stage, kind: Kind, delivery: Delivery) -> str:
    """Returns SQL for the error code of a row that is refused because of a reference. The alias of the row is `r`.

    The code says whether the reference is empty, leads to a row that was never known, or leads to a row that was
    removed.
    """
    refs = [ref for ref in kind.refs if ref.required and ref.header in delivery.header]
    if not refs:
        return "'reference.unknown'"
    kinds = " ".join(f"WHEN '{ref.header}' THEN '{ref.kind}'" for ref in refs)
    values = " ".join(f"WHEN '{ref.header}' THEN s.ref_{ref.column}" for ref in refs)
    named = f"""SELECT btrim(CASE r.field {values} END) AS named FROM {stage.delivered(kind.name)} AS s
        WHERE s.row_number = r.row_number"""
    return f"""CASE
        WHEN EXISTS (SELECT FROM ({named}) AS v WHERE coalesce(v.named, '') = '') THEN 'value.missing'
        WHEN EXISTS (
            SELECT FROM ({named}) AS v
            JOIN external_id AS e ON e.district_id = :district AND e.source_id = :source
             AND e.kind = CASE r.field {kinds} END AND e.sourced_id = ANY (string_to_array(v.named, ',') || v.named))
        THEN 'reference.removed' ELSE 'reference.unknown' END"""

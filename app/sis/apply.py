"""Owns how a plan becomes roster rows: change log, new rows, updates, tombstones. Never deletes, never decides.

`UPDATE … FROM` and anti-joined `INSERT … ON CONFLICT DO NOTHING` run on one machine and on a sharded server alike;
`MERGE` is refused there under our row-level security. Every count comes from `RETURNING`.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from app.sis.kinds import Kind
from app.sis.plan import pin_of, plan_columns
from app.sis.port import Delivery, SourceInconsistent
from app.sis.stage import Stage, fresh_id

DONE = {
    "created": ("create",),
    "updated": ("update", "restore"),
    "removed": ("remove", "absent"),
}


async def apply(stage: Stage, kind: Kind, delivery: Delivery, planned: dict[str, int]) -> None:
    """Carries out one kind's plan. Raises `SourceInconsistent` where it did not come out as planned."""
    if not any(planned.get(action) for actions in DONE.values() for action in actions):
        return
    done = {"created": 0, "updated": 0, "removed": 0}
    if planned.get("create"):
        done["created"] = await _create(stage, kind, delivery)
    if any(planned.get(action) for action in ("update", "restore", "remove", "absent")):
        await _keep_before(stage, kind)
        done["updated"] = await _update(stage, kind, delivery)
        done["removed"] = await _remove(stage, kind)
    for what, actions in DONE.items():
        if done[what] != sum(planned.get(action, 0) for action in actions):
            raise SourceInconsistent(f"The {kind.plural} changed while they were synced. Run the sync again.")


async def _keep_before(stage: Stage, kind: Kind) -> None:
    """The change log, with every row as it was."""
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("change " + kind.name, "p.id::text")}, :run, '{kind.name}', p.id,
                   CASE p.action WHEN 'absent' THEN 'remove' ELSE p.action END, to_jsonb(t)
            FROM {stage.table("plan", kind.name)} AS p
            JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = p.id
            WHERE p.district_id = :district AND p.action IN ('update', 'restore', 'remove', 'absent')
            ON CONFLICT DO NOTHING"""
    )


async def _create(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    plan = stage.table("plan", kind.name)
    columns = [column for column, _ in plan_columns(kind, delivery)]
    values = [f"p.{column}" for column in columns]
    joined = ""
    for field in kind.fields:
        if field.column not in columns and field.default != "NULL":
            columns.append(field.column)
            values.append(field.default)
    for ref in kind.refs:
        if ref.many and ref.column not in columns:
            columns.append(ref.column)
            values.append("'{}'")
    if kind.pinnable:
        columns.append("pinned")
        values.append("'{}'")
    if kind.own_alias:
        columns += ["source_id", "sourced_id"]
        values += [":source", "p.sourced_id"]
    elif kind.key == "person_id":
        columns += ["source_id", "school_ids"]
        values += [":source", "o.school_ids"]
        joined = "JOIN person AS o ON o.district_id = :district AND o.id = p.id"
    else:
        await stage.run(
            f"""INSERT INTO external_id (district_id, source_id, kind, sourced_id, row_id)
                SELECT :district, :source, '{kind.name}', p.sourced_id, p.id FROM {plan} AS p
                WHERE p.district_id = :district AND p.action = 'create' ON CONFLICT DO NOTHING"""
        )
    return await stage.count(
        f"""WITH made AS (
            INSERT INTO {kind.table} (district_id, {kind.key}, arrived_in, {", ".join(columns)})
            SELECT :district, p.id, :run, {", ".join(values)} FROM {plan} AS p {joined}
            WHERE p.district_id = :district AND p.action = 'create'
            ON CONFLICT DO NOTHING RETURNING 1)
        SELECT count(*) FROM made"""
    )


async def _update(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    def value(column: str) -> str:
        if not kind.pinnable:
            return f"p.{column}"
        return f"CASE WHEN '{pin_of(column)}' = ANY (t.pinned) THEN t.{column} ELSE p.{column} END"

    sets = ", ".join(f"{column} = {value(column)}" for column, _ in plan_columns(kind, delivery))
    return await stage.count(
        f"""WITH changed AS (
            UPDATE {kind.table} AS t SET removed_at = NULL, {sets}
            FROM {stage.table("plan", kind.name)} AS p
            WHERE t.district_id = :district AND p.district_id = :district AND t.{kind.key} = p.id
              AND p.action IN ('update', 'restore') RETURNING 1)
        SELECT count(*) FROM changed"""
    )


async def _remove(stage: Stage, kind: Kind) -> int:
    return await stage.count(
        f"""WITH gone AS (
            UPDATE {kind.table} AS t SET removed_at = :now FROM {stage.table("plan", kind.name)} AS p
            WHERE t.district_id = :district AND p.district_id = :district AND t.{kind.key} = p.id
              AND p.action IN ('remove', 'absent') AND t.removed_at IS NULL RETURNING 1)
        SELECT count(*) FROM gone"""
    )

"""Gives known people the sourcedIds that their source likely uses for them now, by a map of old to new sourcedIds.

The report of a run lists these people. The run can have treated them in three ways:

* It left the known person unchanged and did not create the new one (set aside). The new sourcedId is therefore free,
  and the known person gets it.
* It created a new person and removed the former person, who had no records. The two are reunited: the former person is
  restored with the new sourcedId and the values of the new person, and the new person is removed. The two are not
  reunited if the new person has records by now.
* It found that the source now uses a known person's sourcedId for another person (reused). The known person gets the
  sourcedId under which the source now has this person. If there is none, the known person gets a sourcedId that no
  source uses, so that the next run can create the other person.
"""

# ruff: noqa: S608  # only our own names and ids are formatted into statements; values are bound

from collections import Counter
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from app.sis.engine.apply import apply_all
from app.sis.engine.plan import full_column_delivery, plan_columns
from app.sis.engine.report import Report, count_planned
from app.sis.engine.review.contradictions import has_records_sql
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME
from app.sis.models import SisRun
from app.sis.rules import RunState

CREATED: Final = "person.created"
"""The kind of a pair in a map if the run has already created a person with the new sourcedId."""
_PERSON: Final = BY_NAME["person"]
_OF_SOURCE: Final = "{0}.district_id = :district AND {0}.source_id = :source AND {0}.kind = 'person'"


def likely_pairs(run: SisRun) -> list[tuple[str, str]]:
    """Returns the pairs of an old and a new sourcedId in the report of a run that probably belong to the same person.

    A pair that shares a sourcedId with another pair is left out. If the source now uses the old sourcedId for another
    person, the pair is returned in two cases only: the run is still held, or the run has set the two people aside, that
    is, changed neither of them.
    """
    pairs = [
        (pair["old"], pair["new"] or _retired(pair["old"], run))
        for pair in run.rekeys
        if not pair.get("reused") or pair["set_aside"] or run.state == RunState.HELD
    ]
    olds, news = Counter(old for old, _ in pairs), Counter(new for _, new in pairs)
    return [(old, new) for old, new in pairs if olds[old] == news[new] == 1]


def _retired(sourced_id: str, run: SisRun) -> str:
    """Returns a sourcedId that no source uses, such as `4711 until 2026-09-01`.

    A person gets it if the source has given the person's old sourcedId to somebody else, and has no new sourcedId for
    the person.
    """
    return f"{sourced_id} until {run.began_at:%Y-%m-%d}"


async def match_known(stage: Stage, pairs: Sequence[tuple[str, str]], run_id: UUID) -> dict[str, int]:
    """Writes the usable pairs to the map of old to new sourcedIds, which then waits for approval.

    A pair is usable if its old sourcedId is known and its new sourcedId can be assigned. A new sourcedId can be
    assigned if nobody has it, if its owner gets another one in this map, or if its owner was created by the run
    `run_id` and has no records.

    Returns the counts for the report: `matched` is the number of usable pairs, and `unmatched` is the number of the
    other pairs. `gone` and `came` are both the number of all pairs.
    """
    free = await _find_free(stage, pairs)
    into = "INSERT INTO staging.kept_rekey (district_id, run_id, kind, row_id, old, new)"
    given = f"""FROM {stage.of_run("given_pair")} AS g
        JOIN external_id AS e ON {_OF_SOURCE.format("e")} AND e.sourced_id = g.old"""
    await stage.insert_records("given_pair", ("number", "old", "new"), [(n, *pair) for n, pair in enumerate(free)])
    matched = await stage.run(
        f"{into} SELECT :district, :run, 'person', e.row_id, g.old, g.new {given} ON CONFLICT DO NOTHING"
    )
    await stage.delete("given_pair")
    others = sorted(set(pairs) - set(free))
    await stage.insert_records("given_pair", ("number", "old", "new"), [(n, *pair) for n, pair in enumerate(others)])
    matched += await stage.run(
        f"""{into} SELECT :district, :run, '{CREATED}', e.row_id, g.old, g.new {given}
            {_joined_sql("e.row_id", "g.new")} WHERE c.arrived_in = '{run_id}' ON CONFLICT DO NOTHING"""
    )
    counts = {"gone": len(pairs), "came": len(pairs), "matched": matched, "ambiguous": 0}
    return {**counts, "unmatched": len(pairs) - matched}


async def _find_free(stage: Stage, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the pairs that can be applied.

    The old sourcedId must be in use. The new sourcedId must be free, or its owner must get another sourcedId by one of
    the returned pairs.
    """
    await stage.insert_records(
        "given_pair", ("number", "old", "new"), [(number, *pair) for number, pair in enumerate(pairs)]
    )
    given = stage.of_run("given_pair")
    rows = await stage.rows(
        f"""SELECT e.sourced_id FROM external_id AS e WHERE {_OF_SOURCE.format("e")}
             AND e.sourced_id IN (SELECT g.old FROM {given} AS g UNION SELECT g.new FROM {given} AS g)"""
    )
    await stage.delete("given_pair")
    sourced_ids = {row["sourced_id"] for row in rows}
    usable = {old: new for old, new in pairs if old in sourced_ids}
    old_by_new = {new: old for old, new in usable.items()}
    blocked = [old for old, new in usable.items() if new in sourced_ids and new not in usable]
    while blocked:
        old = blocked.pop()
        del usable[old]
        # The sourcedId of this person does not become free for another one.
        if (waiting := old_by_new.get(old)) in usable:
            blocked.append(waiting)
    return list(usable.items())


def _joined_sql(former: str, new: str) -> str:
    """Returns SQL that joins a removed person `o` and a present person `c`, who are likely the same.

    `former` is SQL for the id of `o`, and `new` is SQL for the sourcedId of `c`. The two are joined only if `c` has no
    records, and if both are students or neither is.
    """
    return f"""JOIN person AS o ON o.district_id = :district AND o.id = {former} AND o.removed_at IS NOT NULL
        JOIN external_id AS n ON {_OF_SOURCE.format("n")} AND n.sourced_id = {new}
        JOIN person AS c ON c.district_id = :district AND c.id = n.row_id AND c.removed_at IS NULL
         AND c.is_student = o.is_student AND NOT {has_records_sql("c.id")}"""


async def reunite(stage: Stage, report: Report) -> bool:
    """Restores people whom a run has removed and created a second time, and removes the second rows.

    An approved map has pairs of an old and a new sourcedId. In some pairs, the person with the old sourcedId was
    removed, and the same person was created under the new one. For these pairs, the removed person is restored with the
    new sourcedId, and the other row is removed. Returns false, and applies nothing, if this is not possible for all of
    them as planned. The caller must then not apply the rest of the map either.
    """
    planned = f"(SELECT * FROM {stage.of_run('kept_rekey')} AS w WHERE w.kind = '{CREATED}')"
    expected = await stage.count(f"SELECT count(*) FROM {planned} AS r")
    if not expected:
        return True
    pairs = f"SELECT r.row_id AS former_id, c.id AS new_id, r.old, r.new FROM {planned} AS r "
    pairs += _joined_sql("r.row_id", "r.new")
    names = [name for name, _ in plan_columns(_PERSON, full_column_delivery(_PERSON))]
    rows = await stage.insert(
        "plan",
        "person",
        ("id", "sourced_id", "action", *names),
        f"""SELECT :district, :run, r.former_id, r.new, 'restore', {", ".join(f"c.{name}" for name in names)}
            FROM ({pairs}) AS r JOIN person AS c ON c.district_id = :district AND c.id = r.new_id""",
    )
    if rows != expected:
        return False
    await stage.insert(
        "plan",
        "person",
        ("id", "sourced_id", "action"),
        f"SELECT :district, :run, r.new_id, r.old, 'remove' FROM ({pairs}) AS r",
    )
    await _log(stage, pairs, "old", "new")
    await _swap_aliases(stage)
    await _apply(stage, report)
    return True


async def separate(stage: Stage, undone_id: UUID) -> int:
    """Reverts `reunite` for the run `undone_id`: each person gets the previous sourcedId. Returns the number of pairs.

    Only the sourcedIds change here; the undo of the run restores the rows of these people.
    """
    pairs = f"""SELECT c.row_id AS former_id, (c.before ->> 'created')::uuid AS new_id,
            c.before ->> 'sourced_id' AS old, c.before ->> 'became' AS new
        FROM sis_change AS c WHERE c.district_id = :district AND c.run_id = '{undone_id}' AND c.action = 'rekey'
         AND c.kind = 'person' AND c.before ->> 'created' IS NOT NULL"""
    await _log(stage, pairs, "new", "old")
    return (
        await stage.run(
            f"""UPDATE external_id AS e SET row_id = CASE WHEN e.sourced_id = r.old THEN r.former_id ELSE r.new_id END
            FROM ({pairs}) AS r WHERE {_OF_SOURCE.format("e")} AND e.sourced_id IN (r.old, r.new)"""
        )
        // 2
    )


async def _swap_aliases(stage: Stage) -> None:
    """Exchanges the sourcedIds of the two people in each pair, as the plan says.

    The known person gets the new sourcedId, and the new person gets the old one.
    """
    await stage.run(
        f"""UPDATE external_id AS e SET row_id = p.id FROM {stage.of_run("plan", "person")} AS p
            WHERE {_OF_SOURCE.format("e")} AND e.sourced_id = p.sourced_id"""
    )


async def _log(stage: Stage, pairs: str, before: str, after: str) -> None:
    """Writes to the change log that people have new sourcedIds. The query `pairs` returns a row for each person.

    `before` and `after` are the names of two columns of `pairs`: the one with the former sourcedId, and the one with
    the present sourcedId.
    """
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("rekey", "r.old")}, :run, 'person', r.former_id, 'rekey',
                   jsonb_build_object('sourced_id', r.{before}, 'became', r.{after}, 'created', r.new_id)
            FROM ({pairs}) AS r ON CONFLICT DO NOTHING"""
    )


async def _apply(stage: Stage, report: Report) -> None:
    await count_planned(stage, _PERSON)
    report.repaired = await apply_all(stage, {"person": full_column_delivery(_PERSON)}, lambda _doing, _done, _of: None)
    await stage.clear()

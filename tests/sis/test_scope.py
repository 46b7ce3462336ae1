"""Tests a source that is restricted to some schools, or that excludes users.

Roster rows outside of this restriction stay unchanged, and the report counts them.
"""

from pathlib import Path
from typing import Any

import pytest

from app.core.address import Allowed
from app.core.errors import Invalid
from app.sis.engine.report import Report
from app.sis.runs.pull import run_source
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.processes import aimline
from tests.sis.roster_zip import STUDENTS, Export, ask, sync
from tests.sis.score_file import Scores, line, load, scores_of
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
KINDS = ("person", "class", "enrollment", "demographics")


async def make_source(town: Town, path: Path, **more: Any) -> sources.ConfiguredSource:
    async with town.unit() as work:
        return await sources.register_source(
            work, "csv", SourceSettings(kind="oneroster-csv", url=str(path), **more), SANDBOX, local=True
        )


async def _restrict(town: Town, made: sources.ConfiguredSource, **changes: Any) -> None:
    async with town.unit() as work:
        await sources.change_source(work, made.source.id, changes, SANDBOX, local=True)


async def _run(town: Town, made: sources.ConfiguredSource, export: Export, path: Path) -> Report:
    export.write(path)
    return await run_source(
        town.worker_engine,
        town.settings.keyring,
        town.district_id,
        made.source.id,
        lambda _doing, _done, _of: None,
        SANDBOX,
        mode="full",
    )


async def people_in(town: Town, school: str) -> int:
    """Returns the number of people in the roster of a school."""
    rows = await ask(
        town,
        """SELECT count(*) FROM person p JOIN external_id e ON e.district_id = :district AND e.kind = 'org'
           AND e.sourced_id = :school AND e.row_id = ANY (p.school_ids)
           JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'csv'
           WHERE p.district_id = :district AND p.removed_at IS NULL""",
        school=school,
    )
    return int(rows[0][0])


async def _living(town: Town) -> dict[str, int]:
    counts = {}
    for kind in KINDS:
        is_ours = "district_id = :district AND removed_at IS NULL AND arrived_in IS NOT NULL"
        counts[kind] = int((await ask(town, f"SELECT count(*) FROM {kind} WHERE {is_ours}"))[0][0])
    return counts


async def test_only_the_chosen_schools_come(north: Town, tmp_path: Path) -> None:
    """Records of a school that was not chosen are left out and counted in the report.

    These are people, classes, enrollments and demographics. No row is refused because of a reference to such a record.
    """
    path = tmp_path / "roster.zip"
    made = await make_source(north, path, schools=("north",))
    report = await _run(north, made, Export(), path)
    assert (report.state, report.exit_code, report.total("quarantined")) == ("applied", 0, 0), report.sentence
    assert (await people_in(north, "north"), await people_in(north, "south")) == (STUDENTS // 2 + 1, 0)
    assert f"users.csv: {STUDENTS // 2 + 1} new or changed rows are left out" in " ".join(report.warnings)
    assert "enrollments.csv: " in " ".join(report.warnings)
    repeated = await _run(north, made, Export(), path)
    assert (repeated.total("changes"), repeated.total("quarantined")) == (0, 0)


async def test_narrowing_later_removes_nobody(north: Town, tmp_path: Path) -> None:
    """If a source is later restricted to some schools, rows of the other schools stay as they are.

    These rows do not count for the limits on changes, and the report states their number. If the restriction is lifted,
    all rows are synced again.
    """
    path, export = tmp_path / "roster.zip", Export()
    made = await make_source(north, path)
    assert (await _run(north, made, export, path)).state == "applied"
    before = await _living(north)
    await _restrict(north, made, schools=("north",))
    south = next(row for row in export.rows["users"] if row["orgSourcedIds"] == "south" and row["role"] == "student")
    export.row("users", south["sourcedId"])["givenName"] = "Changed"
    narrowed = await _run(north, made, export, path)
    assert (narrowed.state, narrowed.total("changes"), narrowed.total("quarantined")) == ("applied", 0, 0)
    assert await _living(north) == before
    warnings = " ".join(narrowed.warnings)
    assert f", {STUDENTS // 2 + 1} people, {STUDENTS // 2 + 1} enrollments" in warnings
    assert "users.csv: 1 new or changed row is left out" in warnings
    # The other school vanishes from the delivery altogether, as a vendor does who restricts its own export.
    export.rows["users"] = [row for row in export.rows["users"] if row["orgSourcedIds"] != "south"]
    user_ids = {row["sourcedId"] for row in export.rows["users"]}
    for name, column in (("enrollments", "userSourcedId"), ("demographics", "sourcedId")):
        export.rows[name] = [row for row in export.rows[name] if row[column] in user_ids]
    export.rows["classes"] = [row for row in export.rows["classes"] if row["schoolSourcedId"] != "south"]
    gone = await _run(north, made, export, path)
    assert (gone.state, gone.total("removed") + gone.total("absent")) == ("applied", 0), gone.sentence
    assert await _living(north) == before
    await _restrict(north, made, schools=())
    assert (await _run(north, made, Export(), path)).total("changes") == 0


async def test_the_guard_weighs_only_what_is_chosen(north: Town, tmp_path: Path) -> None:
    """If a source is restricted to some schools, the limits on changes count the rows of these schools only.

    So a run that would remove half of a chosen school is held, however many people other schools have.
    """
    path, export = tmp_path / "roster.zip", Export()
    made = await make_source(north, path)
    await _run(north, made, export, path)
    await _restrict(north, made, schools=("north",))
    gone = [row["sourcedId"] for row in export.rows["users"] if row["orgSourcedIds"] == "north"][:14]
    for name, column in (("users", "sourcedId"), ("enrollments", "userSourcedId"), ("demographics", "sourcedId")):
        export.rows[name] = [row for row in export.rows[name] if row[column] not in gone]
    held = await _run(north, made, export, path)
    assert held.state == "held"
    assert held.kinds["person"].known == STUDENTS // 2 + 1


async def test_a_student_who_moves_is_followed(north: Town, tmp_path: Path) -> None:
    """If a student moves out of the chosen schools, the new school is imported, but no enrollment there.

    If a student moves into a chosen school, the student's enrollments are imported too.
    """
    path, export = tmp_path / "roster.zip", Export()
    made = await make_source(north, path)
    await _run(north, made, export, path)
    await _restrict(north, made, schools=("north",))
    students = [row for row in export.rows["users"] if row["role"] == "student"]
    leaves = next(row for row in students if row["orgSourcedIds"] == "north")
    comes = next(row for row in students if row["orgSourcedIds"] == "south")
    leaves["orgSourcedIds"], comes["orgSourcedIds"] = "south", "north"
    north_class = next(row for row in export.rows["classes"] if row["schoolSourcedId"] == "north")["sourcedId"]
    south_class = next(row for row in export.rows["classes"] if row["schoolSourcedId"] == "south")["sourcedId"]
    for row in export.rows["enrollments"]:
        if row["userSourcedId"] == leaves["sourcedId"]:
            row |= {"sourcedId": f"{row['sourcedId']}-new", "schoolSourcedId": "south", "classSourcedId": south_class}
        elif row["userSourcedId"] == comes["sourcedId"]:
            row |= {"sourcedId": f"{row['sourcedId']}-new", "schoolSourcedId": "north", "classSourcedId": north_class}
    moved = await _run(north, made, export, path)
    assert (moved.state, moved.total("quarantined")) == ("applied", 0), moved.sentence
    assert (moved.kinds["person"].updated, moved.kinds["person"].absent) == (2, 0)
    schools = await ask(
        north,
        """SELECT e.sourced_id, o.sourced_id FROM person p JOIN external_id e ON e.district_id = :district
           AND e.row_id = p.id JOIN external_id o ON o.district_id = :district AND o.row_id = ANY (p.school_ids)
           WHERE p.district_id = :district AND e.sourced_id = ANY (:ids)""",
        ids=[leaves["sourcedId"], comes["sourcedId"]],
    )
    assert {tuple(row) for row in schools} == {(leaves["sourcedId"], "south"), (comes["sourcedId"], "north")}
    assert moved.kinds["enrollment"].created == moved.kinds["enrollment"].absent == 1


async def test_excluded_users_stay_out(north: Town, tmp_path: Path) -> None:
    """A user on the list of excluded users is not imported if new, and stays unchanged if already in the roster.

    The report warns of excluded sourcedIds that the source does not have.
    """
    path, export = tmp_path / "roster.zip", Export()
    made = await make_source(north, path, excluded_users=("s1", "nobody"))
    first = await _run(north, made, export, path)
    assert (first.state, first.total("quarantined"), first.kinds["person"].created) == ("applied", 0, STUDENTS + 1)
    unknown = "Excluded users whom the source does not have: nobody. Are the sourcedIds right?"
    assert unknown in first.warnings, "a misspelt sourcedId would let the user in"
    await _restrict(north, made, excluded_users=("s1", "s2"))
    export.row("users", "s2")["givenName"] = "Changed"
    second = await _run(north, made, export, path)
    assert (second.state, second.total("changes"), second.total("quarantined")) == ("applied", 0, 0)
    assert "Known of other schools or of excluded users: 1 person" in " ".join(second.warnings)


async def test_an_unknown_school_is_refused(north: Town, tmp_path: Path) -> None:
    """An unknown school in the settings makes the run fail with exit code 5, and the error names it.

    Otherwise everybody would be left out.
    """
    path = tmp_path / "roster.zip"
    made = await make_source(north, path)
    await _run(north, made, Export(), path)
    before = await _living(north)
    await _restrict(north, made, schools=("norht",))
    failed = await _run(north, made, Export(), path)
    assert (failed.state, failed.exit_code, "norht" in failed.sentence) == ("failed", 5, True)
    assert await _living(north) == before
    with pytest.raises(Invalid):
        await _restrict(north, made, schools=(" north",))


async def test_the_command_line_sets_and_clears_them(north: Town, tmp_path: Path) -> None:
    """`--schools` takes a list with commas, and `--exclude-users` a file with or without a header. An empty value
    clears both.
    """
    path = Export().write(tmp_path / "roster.zip")
    excluded = tmp_path / "excluded.csv"
    excluded.write_text("sourcedId,why\ns1,opted out\n s2 ,\n\n")
    named = ("--district", north.slug)
    add = ("add", *named, "--name", "csv", "--kind", "oneroster-csv", "--url", str(path), "--schools", "north, south")
    done = aimline(north.settings, "sis", *add, "--exclude-users", str(excluded))
    assert done.returncode == 0, done.stderr
    assert 'schools          ["north","south"]' in done.stdout
    assert 'excluded_users   ["s1","s2"]' in done.stdout
    cleared = aimline(north.settings, "sis", "set", "csv", *named, "--schools", "", "--exclude-users", "")
    assert (cleared.returncode, "schools" in cleared.stdout, "excluded_users" in cleared.stdout) == (0, False, False)
    missing = aimline(north.settings, "sis", "set", "csv", *named, "--exclude-users", str(tmp_path / "gone"))
    assert (missing.returncode, "cannot be read" in missing.stderr) == (2, True)
    excluded.write_text("sourcedId\n")
    empty = aimline(north.settings, "sis", "set", "csv", *named, "--exclude-users", str(excluded))
    assert (empty.returncode, "has no sourcedId" in empty.stderr) == (2, True), "a failed export excludes nobody"


async def test_scores_are_restricted_alike(north: Town, tmp_path: Path) -> None:
    """From a file with the scores of a whole district, a source that is limited to one school imports only this
    school's scores.
    """
    await sync(north, Export(), tmp_path)
    async with north.unit() as work:
        await sources.register_source(
            work,
            "vendor",
            SourceSettings(kind="scores-csv", url="upload:", schools=("school-1",), excluded_users=("ben-1",)),
            SANDBOX,
        )
    report = await load(north, Scores([*Scores().rows, line("amy-1", "50", "w9", "2026-09-16")]), tmp_path)
    assert (report.state, report.kinds["score"].fetched, report.kinds["score"].created) == ("applied", 2, 2)
    assert "scores.csv: 2 rows are left out" in report.warnings[0]
    assert {row[1] for row in await scores_of(north)} == {"amy-1"}


async def test_after_a_change_of_the_scope_the_next_run_is_full(north: Town) -> None:
    """After schools were added to the scope, the next run is full, because a delta would lack their unchanged rows.

    A change of other settings does not make the next run full.
    """
    async with north.unit() as work:
        made = await sources.register_source(
            work,
            "sis",
            SourceSettings(
                kind="oneroster-1.2",
                url="https://sis.example.org/v1p2",
                token_url="https://sis.example.org/token",
                auth="oauth2-basic",
                client_id="aimline",
                client_secret="secret-of-a-test",
            ),
            SANDBOX,
        )
    seen = "UPDATE sis_source SET full_at = now(), pulled_until = now() WHERE district_id = :district"
    is_full = "SELECT full_at IS NULL, pulled_until IS NULL FROM sis_source WHERE district_id = :district AND id = :id"
    changes: tuple[dict[str, Any], ...] = (
        {"jitter_minutes": 5},
        {"schools": ("north",)},
        {"excluded_users": ("s1",)},
        {"left_out": ("demographics",)},
        {"url": "https://sis.example.org/ims/oneroster/rostering/v1p2"},
    )
    for change in changes:
        await ask(north, seen)
        await _restrict(north, made, **change)
        expected = "jitter_minutes" not in change
        assert [tuple(row) for row in await ask(north, is_full, id=made.source.id)] == [(expected, expected)], change

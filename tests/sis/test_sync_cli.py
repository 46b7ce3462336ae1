"""Tests `aimline sync csv` as a process: stdout has only its report, and the exit code shows the result."""

import json
import subprocess
from pathlib import Path

import pytest

from app.core.csv_file import BOM
from tests.processes import aimline
from tests.sis.roster_zip import Export
from tests.town import Town


def _run(town: Town, *arguments: str) -> subprocess.CompletedProcess[str]:
    return aimline(town.settings, "sync", *arguments)


async def test_the_command_syncs_and_says_so_in_json(north: Town, tmp_path: Path) -> None:
    """The command prints one JSON object and nothing else, and exits with 0, or with 3 after a bad row."""
    export = Export()
    path = str(export.write(tmp_path / "roster.zip"))
    arguments = (path, "--district", north.slug, "--source", "csv", "--json")
    done = _run(north, "csv", *arguments)
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (report["state"], report["kinds"]["org"]["created"]) == ("applied", 3)
    assert report["run_id"].startswith("run_")
    export.row("enrollments", "e3")["beginDate"] = "soon"
    export.write(tmp_path / "roster.zip")
    assert _run(north, "csv", *arguments).returncode == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("gone.zip", "--district", "{slug}", "--source", "csv"), 5, "There is no file gone.zip."),
        (("gone.zip", "--district", "no-such-district", "--source", "csv"), 2, "There is no district"),
        (("gone.zip",), 2, "Missing option"),
    ],
)
async def test_the_command_fails_with_its_own_code(
    north: Town, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """A failing command exits with its own code and prints one sentence without a traceback."""
    done = _run(north, "csv", *(argument.format(slug=north.slug) for argument in arguments))
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


async def test_the_report_for_a_person_names_the_counts(north: Town, tmp_path: Path) -> None:
    """Without `--json`, the report is a table with a row for each file, followed by one sentence."""
    path = str(Export().write(tmp_path / "roster.zip"))
    done = _run(north, "csv", path, "--district", north.slug, "--source", "csv", "--dry-run")
    assert done.returncode == 0
    assert "users.csv" in done.stdout
    assert "Nothing was written. The sync would make" in done.stdout


async def test_the_newest_runs_are_listed(north: Town, tmp_path: Path) -> None:
    """The newest runs are listed first, with source and state."""
    arguments = ("csv", str(Export().write(tmp_path / "roster.zip")), "--district", north.slug, "--source", "nightly")
    ran = [json.loads(_run(north, *arguments, "--json").stdout)["run_id"] for _ in range(2)]
    done = _run(north, "status", "--district", north.slug, "--json")
    listed = json.loads(done.stdout)
    assert done.returncode == 0
    assert [one["run_id"] for one in listed] == ran[::-1]
    assert {(one["source"], one["state"]) for one in listed} == {("nightly", "applied")}
    assert ran[0] in _run(north, "status", "--district", north.slug).stdout


async def test_a_held_run_is_answered_on_the_command_line(north: Town, tmp_path: Path) -> None:
    """On the command line, a held run exits with 4, and is applied after an approval with the right digest.

    An approval with a wrong digest is refused.
    """
    export = Export()
    path = str(export.write(tmp_path / "roster.zip"))
    arguments = ("csv", path, "--district", north.slug, "--source", "csv")
    assert _run(north, *arguments).returncode == 0
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.write(tmp_path / "roster.zip")
    held = _run(north, *arguments, "--json")
    report = json.loads(held.stdout)
    assert (held.returncode, report["state"], len(report["plan"])) == (4, "held", 16)
    named = (report["run_id"], "--district", north.slug)
    shown = _run(north, "report", *named)
    assert f"aimline sync approve {report['run_id']} --district {north.slug} --plan {report['plan']}" in shown.stdout
    assert "HELD shrunk classes: " in shown.stdout
    assert "limit 50% over 4" in shown.stdout
    assert json.loads(_run(north, "report", *named, "--json").stdout)["kinds"] == report["kinds"]
    wrong = _run(north, "approve", *named, "--plan", "0" * 16)
    assert (wrong.returncode, wrong.stderr.split(".")[0]) == (2, "The plan is not the one that was read")
    done = _run(north, "approve", *named, "--plan", report["plan"])
    assert (done.returncode, "12 changes were made." in done.stdout) == (0, True)
    assert json.loads(_run(north, "status", *named, "--json").stdout)["state"] == "applied"
    late = _run(north, "discard", *named)
    assert (late.returncode, "The run is applied" in late.stderr) == (2, True)


async def test_a_held_run_is_shown_row_by_row_on_the_command_line(north: Town, tmp_path: Path) -> None:
    """`aimline sync diff` prints the planned changes of a held run as a table, CSV or JSON, with filters.

    It exits with 2 for an unknown filter value and for a run without such a list.
    """
    export = Export()
    path = str(export.write(tmp_path / "roster.zip"))
    arguments = ("csv", path, "--district", north.slug, "--source", "csv", "--json")
    applied = json.loads(_run(north, *arguments).stdout)["run_id"]
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.row("users", "s3")["givenName"] = "New\x1b[31m"
    export.write(tmp_path / "roster.zip")
    held = json.loads(_run(north, *arguments).stdout)["run_id"]
    table = _run(north, "diff", held, "--district", north.slug, "--kind", "person")
    assert (table.returncode, table.stderr) == (0, "")
    assert "givenName Given s3 -> New" in table.stdout
    assert "\x1b" not in table.stdout
    assert table.stdout.endswith("1 of 13 listed changes.\n")
    chosen = ("--action", "absent", "--school", "sis:csv:north")
    diff = json.loads(_run(north, "diff", held, "--district", north.slug, *chosen, "--json").stdout)
    assert (diff["run_id"], len(diff["changes"])) == (held, 12)
    lines = _run(north, "diff", held, "--district", north.slug, "--csv", "--kind", "person").stdout.splitlines()
    assert lines[0] == f"{BOM}kind,action,sourcedId,schools,field,before,after,digest"
    for wrong in (("--kind", "people"), ("--action", "delete"), ("--school", "sis:csv:west"), ("--json", "--csv")):
        assert _run(north, "diff", held, "--district", north.slug, *wrong).returncode == 2, wrong
    refused = _run(north, "diff", applied, "--district", north.slug)
    assert (refused.returncode, "only held and dry runs have one" in refused.stderr) == (2, True)


async def test_a_part_is_approved_on_the_command_line(north: Town, tmp_path: Path) -> None:
    """A plan can be approved on the command line for some kinds or schools. The report says what is left out."""
    export = Export()
    arguments = (
        "csv",
        str(export.write(tmp_path / "roster.zip")),
        "--district",
        north.slug,
        "--source",
        "csv",
        "--json",
    )
    _run(north, *arguments)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.row("users", "s3")["givenName"] = "New"
    export.write(tmp_path / "roster.zip")
    held = json.loads(_run(north, *arguments).stdout)
    approve = ("approve", held["run_id"], "--district", north.slug, "--plan", held["plan"])
    assert _run(north, *approve, "--school", "sis:csv:west").returncode == 2
    done = _run(north, *approve, "--kind", "person")
    assert done.returncode == 0
    assert "12 planned changes are left out: see the notes." in done.stdout


async def test_a_sourced_id_is_text_only(north: Town, tmp_path: Path) -> None:
    """Markup and terminal control characters in a sourcedId have no effect when the report is printed."""
    export, hostile = Export(), "[/red]\x1b]0;owned\x07[bold]"
    export.row("users", "s1")["sourcedId"] = hostile
    export.row("users", hostile)["enabledUser"] = "perhaps"
    path = str(export.write(tmp_path / "roster.zip"))
    done = _run(north, "csv", path, "--district", north.slug, "--source", "csv")
    assert done.returncode == 3, done.stderr
    assert "[/red]" in done.stdout
    assert "\x1b]" not in done.stdout

"""Tests `aimline sis` and `aimline sync run` as an operator uses them: exit codes, sentences, and never a secret."""

import asyncio
import json
import subprocess
from pathlib import Path

from tests.processes import aimline
from tests.sis.roster_zip import Export
from tests.sis.sandbox_sis import V11, running
from tests.town import Town

SECRET = "of-a-test"


async def _aimline(town: Town, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(aimline, town.settings, *arguments, "--district", town.slug)


async def test_a_source_is_made_looked_at_run_and_shown(north: Town, tmp_path: Path) -> None:
    """A source is added, inspected and run, in full and as a delta; its secret comes from a file and is not printed."""
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    with running("--students", "40") as address:
        added = await _aimline(
            north,
            *("sis", "add", "--name", "sis-of-north", "--kind", "oneroster-1.1", "--url", f"{address}{V11}"),
            *("--token-url", f"{address}oauth/token", "--client-id", "north", "--client-secret-file", str(secret)),
            *("--limit", "removed=0.2", "--rollover", "2026-07-01..2026-08-31", "--schedule", "0 2 * * *"),
            *("--freeze", "2026-12-21..2027-01-01", "--full-schedule", "0 3 1 1 *", "--leave-out", "demographics"),
            "--json",
        )
        assert (added.returncode, added.stderr) == (0, "")
        output = json.loads(added.stdout)
        assert (output["limits"], output["cron"], output["left_out"]) == (
            {"removed": 0.2},
            "0 2 * * *",
            ["demographics"],
        )
        looked = await _aimline(north, "sis", "doctor", "sis-of-north")
        assert (looked.returncode, "A sync can read this source." in looked.stdout) == (0, True), looked.stdout
        done = await _aimline(north, "sync", "run", "sis-of-north", "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["state"], report["mode"]) == (0, "applied", "full"), done.stdout
        repeated = await _aimline(north, "sync", "run", "sis-of-north", "--delta", "--dry-run", "--json")
        assert (repeated.returncode, json.loads(repeated.stdout)["mode"]) == (0, "delta"), repeated.stdout
        secret.write_text("another")
        await _aimline(north, "sis", "set", "sis-of-north", "--client-secret-file", str(secret))
        refused = await _aimline(north, "sync", "run", "sis-of-north", "--full")
        assert (refused.returncode, "Nothing was changed." in refused.stdout) == (5, True)
    for one in (added, looked, done, repeated, refused):
        assert SECRET not in one.stdout + one.stderr


async def test_the_doctor_fails_until_what_it_finds_is_set(north: Town, tmp_path: Path) -> None:
    """`sis doctor` exits with 5 until the token endpoint that it found is saved in the settings, and then with 0."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with running("--students", "20") as address:
        await _aimline(
            north,
            *("sis", "add", "--name", "unset", "--kind", "oneroster-1.1", "--url", f"{address}{V11}"),
            *("--client-id", "north", "--client-secret-file", str(secret)),
        )
        looked = await _aimline(north, "sis", "doctor", "unset")
        assert looked.returncode == 5, looked.stdout
        assert f"--token-url {address}oauth/token" in looked.stdout
        assert "A sync cannot read this source as it is set." in looked.stdout
        refused = await _aimline(north, "sync", "run", "unset")
        assert refused.returncode == 5, "the doctor said so"
        given = ("--token-url", f"{address}oauth/token", "--client-secret-file", str(secret))
        await _aimline(north, "sis", "set", "unset", *given)
        repeated = await _aimline(north, "sis", "doctor", "unset")
        assert (repeated.returncode, "A sync can read this source." in repeated.stdout) == (0, True), repeated.stdout


async def test_what_cannot_be_is_said_in_a_sentence_each(north: Town, tmp_path: Path) -> None:
    """Invalid settings give exit code 2 and one sentence for each, without a traceback."""
    bad = await _aimline(
        north,
        *("sis", "add", "--name", "bad", "--kind", "oneroster-1.1", "--url", "http://sis.example.org/"),
        *("--limit", "removed=2", "--schedule", "never"),
    )
    assert bad.returncode == 2
    for words in ("url: ", "limits/removed: ", "cron: ", "client_id: ", "client_secret: "):
        assert words in bad.stderr, words
    both = await _aimline(north, "sync", "run", "x", "--full", "--delta")
    none = await _aimline(north, "sync", "run", "x")
    for one, words in ((both, "not both"), (none, "There is no such source")):
        assert (one.returncode, words in one.stderr) == (2, True), one.stderr
        assert "Traceback" not in one.stderr


async def test_a_file_is_set_changed_run_and_paused(north: Town, tmp_path: Path) -> None:
    """`sis set` changes only the given settings, a paused source is listed as paused, and no file is imported twice."""
    path = Export().write(tmp_path / "roster.zip")
    made = ("sis", "add", "--name", "drop", "--kind", "oneroster-csv", "--url", str(path), "--jitter", "0")
    assert (await _aimline(north, *made)).returncode == 0
    changed = await _aimline(north, "sis", "set", "drop", "--schedule", "0 2 * * *", "--limit", "lost=0.6", "--json")
    output = json.loads(changed.stdout)
    assert (output["url"], output["jitter_minutes"], output["limits"]) == (str(path), 0, {"lost": 0.6})
    assert output["due"] is not None
    first = await _aimline(north, "sync", "run", "drop", "--json")
    assert (first.returncode, json.loads(first.stdout)["state"]) == (0, "applied")
    second = await _aimline(north, "sync", "run", "drop")
    assert (second.returncode, "There is nothing new in roster.zip" in second.stdout) == (0, True)
    paused = await _aimline(north, "sis", "pause", "drop", "--json")
    assert json.loads(paused.stdout)["due"] is None
    assert "paused" in (await _aimline(north, "sis", "list")).stdout

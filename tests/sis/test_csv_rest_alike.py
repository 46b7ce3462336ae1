"""Tests that CSV and REST treat the same rows in the same way, whatever their cells contain."""

import random
from pathlib import Path

import pytest

from app.sis.engine.report import Report
from tests.sis.roster_zip import LENIENT, STUDENTS, Export, fingerprint, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

VALUES: dict[str, tuple[tuple[str, str], ...]] = {
    "users": (
        *(
            ("role", word)
            for word in (
                "learner",
                "STUDENT",
                "ext:student",
                "",
                " student ",
                "guardian",
                "student\u00a0",
                "\u200bstudent",
            )
        ),
        *(("enabledUser", word) for word in ("TRUE", "0", "perhaps", "NULL", "no", "", "true\u00a0", "\tno")),
        *(
            ("givenName", word)
            for word in ("NULL", 'Al "Bo" X', "Zo\u00eb", "a,b", "x" * 301, " padded ", "two\nlines")
        ),
        *(("familyName", word) for word in ("Null", "")),
        *(("middleName", word) for word in ("NULL", "null", "Null")),
        *(("orgSourcedIds", word) for word in ("nowhere", "north,nowhere", " south ", "", "north,,south", "a;b")),
        *(("orgSourcedIds", word) for word in ("north;south", "south|nowhere", "north; south,nowhere")),
        *(("status", word) for word in ("tobedeleted", "inactive", "ACTIVE", "asleep", "NULL", r"\N", "active\u00a0")),
        *(("grades", word) for word in ("03;04", "3|KG", "03 ; x")),
        *(("grades", word) for word in ("3", "03", "NULL", "kg", "", "3rd", "Third grade", "Grade 3", "Kindergarten")),
        *(("email", word) for word in (" x@example.org ", "NULL")),
    ),
    "enrollments": (
        *(("beginDate", word) for word in ("2026-08-17T00:00:00Z", "2026-13-45", "NULL", "", "2026-08-18 07:00:00")),
        *(("beginDate", word) for word in ("2026-08-17 ", "\u00a02026-08-18", "2026-08-18\u200f", "2026/08/18")),
        *(("primary", word) for word in ("NULL", "TRUE", "x")),
        *(("role", word) for word in ("learner", "Teacher")),
        *(("classSourcedId", word) for word in ("nowhere", " class-north ")),
        *(("userSourcedId", word) for word in ("nobody", "")),
    ),
    "demographics": (
        *(("birthDate", word) for word in ("2018-03-04T00:00:00", "3/4/2018", "NULL", "", "2999-01-01")),
        *(("sex", word) for word in ("Female", "NULL", "x")),
        *(("asian", word) for word in ("yes", "maybe", "NULL")),
    ),
}
"""Values of single cells, each good or bad in its own way."""


def _judged(report: Report) -> dict[str, tuple[int, ...]]:
    return {
        name: (counts.fetched, counts.quarantined, counts.ignored + counts.removed)
        for name, counts in report.kinds.items()
        if name != "role" and counts.fetched
    }


def _refused(report: Report) -> set[tuple[str, str | None, str, str]]:
    return {(one.file.removesuffix(".csv"), one.sourced_id, one.field, one.code) for one in report.refusals}


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_rows_have_the_same_outcome(north: Town, tmp_path: Path, seed: int) -> None:
    """After a sync by CSV, a sync of the same rows over REST changes nothing.

    The second sync refuses the same rows with the same codes.
    """
    dice, export = random.Random(seed), Export()
    await sync(north, export, tmp_path)
    for file, values in VALUES.items():
        chosen = dice.sample(values, min(len(values), 12))
        for number, (column, value) in zip(dice.sample(range(STUDENTS), len(chosen)), chosen, strict=True):
            export.row(file, f"{'e' if file == 'enrollments' else 's'}{number}")[column] = value
    first = await sync(north, export, tmp_path, limits=LENIENT)
    assert first.state == "applied", first.sentence
    before = await fingerprint(north)
    second = await sync_rows(north, RowsServer(export=export), limits=LENIENT)
    assert (second.state, second.exit_code) == ("applied", first.exit_code), second.sentence
    assert {name: counts.changes for name, counts in second.kinds.items() if counts.changes} == {}
    assert await fingerprint(north) == before
    assert _judged(second) == _judged(first)
    assert _refused(second) == _refused(first)


async def test_a_nul_is_replaced_and_reported_alike(north: Town, tmp_path: Path) -> None:
    """A NUL in a name is replaced and noted over REST as in CSV, and the row is the same."""
    export = Export()
    export.row("users", "s3")["givenName"] = "Nul\0l"
    first = await sync(north, export, tmp_path)
    second = await sync_rows(north, RowsServer(export=export))
    assert (second.state, second.exit_code, second.total("changes")) == ("applied", 0, 0), second.sentence
    for report in (first, second):
        assert any("1 NUL character is replaced" in warning for warning in report.warnings), report.warnings

"""Tests that a sync over REST gives the same roster as from CSV, and that suspicious deliveries are held."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from app.sis.engine.report import Report
from app.sis.guard import GuardLimits
from app.sis.oneroster_rest.connection import GRADES, Connection
from app.sis.oneroster_rest.pull import open_rest
from app.sis.service import sync, sync_csv
from tests.processes import TRUSTS_NOBODY
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import Version, behave, connect, quiet
from tests.sis.roster_zip import ask, fingerprint
from tests.sis.sandbox_sis import running
from tests.town import Town

DAY = 3
PERIODS = {"academic_session": 4}
"""The grading periods: the sandbox's CSV, which has no grades, does without."""
NIGHTLY = """SELECT p.role, count(*) FROM person p JOIN external_id e
    ON e.district_id = :district AND e.kind = 'person' AND e.row_id = p.id
    JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'nightly'
    WHERE p.district_id = :district GROUP BY 1 ORDER BY 1"""
ROSTER = ("org", "academic_session", "course", "class", "person", "enrollment", "demographics")
SAMPLE = Path(__file__).parents[3] / "shared/oneroster/samples/edfi-grandbend-1.2/collections.zip"


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    """Yields the address of a sandbox SIS whose behaviour each test sets."""
    with running("--students", "60") as address:
        yield address


async def sync_rest(town: Town, connection: Connection, limits: GuardLimits | None = None) -> Report:
    """Syncs a district over REST, and returns the report."""
    opener = partial(open_rest, connection, since=None, progress=quiet)
    keyring = town.settings.keyring
    return await sync(town.worker_engine, keyring, town.district_id, opener, "nightly", False, quiet, limits)


def changed(report: Report) -> dict[str, int]:
    """Returns the kinds of roster records that changed, each with the number of changed rows."""
    counts_by_kind = {kind: report.kinds[kind] for kind in ROSTER}
    return {
        kind: counts.created + counts.updated + counts.removed
        for kind, counts in counts_by_kind.items()
        if counts.created + counts.updated + counts.removed
    }


async def _from_csv(town: Town, sis: str, folder: Path) -> Report:
    path = folder / "nightly.zip"
    async with httpx.AsyncClient(timeout=60, verify=TRUSTS_NOBODY) as client:
        path.write_bytes((await client.get(f"{sis}csv/oneroster.zip")).content)
    keyring = town.settings.keyring
    return await sync_csv(town.worker_engine, keyring, town.district_id, path, "nightly", False, quiet)


async def test_rest_11_after_csv_changes_nothing(north: Town, sis: str, tmp_path: Path) -> None:
    """If a district was synced from CSV files, a sync of the same district over REST 1.1 changes nothing."""
    behave(sis, day=DAY)
    first = await _from_csv(north, sis, tmp_path)
    assert first.state == "applied", first.sentence
    report = await sync_rest(north, connect(sis, "1.1"))
    assert report.state == "applied", report.sentence
    assert changed(report) == PERIODS
    assert report.kinds["academic_session"].created == 4
    assert report.kinds["person"].known == first.kinds["person"].created > 100
    grades = await ask(north, "SELECT count(*) FROM result WHERE district_id = :district")
    assert grades[0][0] > 1000
    before = await fingerprint(north)
    repeated = await sync_rest(north, connect(sis, "1.1"))
    assert (repeated.state, repeated.exit_code, repeated.total("changes")) == ("applied", 0, 0)
    assert await fingerprint(north) == before


async def test_rest_12_after_csv_changes_the_roles_that_12_alone_tells_apart(
    north: Town, sis: str, tmp_path: Path
) -> None:
    """A sync over REST 1.2 after CSV changes only the kinds of administrators, which 1.1 does not distinguish."""
    behave(sis, day=DAY)
    await _from_csv(north, sis, tmp_path)
    heads = dict(map(tuple, await ask(north, NIGHTLY)))["administrator"]
    report = await sync_rest(north, connect(sis, "1.2"))
    assert report.state == "applied", report.sentence
    assert changed(report) == {"person": heads} | PERIODS
    roles = dict(map(tuple, await ask(north, NIGHTLY)))
    assert roles["districtAdministrator"] + roles["siteAdministrator"] == heads
    assert "administrator" not in roles
    repeated = await sync_rest(north, connect(sis, "1.2"))
    assert (repeated.state, repeated.total("changes")) == ("applied", 0)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_days_pass_over_rest(north: Town, sis: str, version: Version) -> None:
    """Deltas over several days give the same roster as a full pull of the last day."""
    few = connect(sis, version, leave_out=GRADES)
    behave(sis, day=0)
    assert (await sync_rest(north, few)).state == "applied"
    behave(sis, day=6)
    later = await sync_rest(north, few)
    assert later.state == "applied", later.sentence
    assert later.total("changes") > 0
    assert (await sync_rest(north, few)).total("changes") == 0


HELD = [
    ("empty:enrollments", "1.1", "No enrollments came"),
    ("empty:users", "1.2", "No people came"),
    ("missing:demographics", "1.1", "No demographics came"),
    ("rekeyed", "1.2", "another sourcedId"),
    ("row-per-school", "1.1", "people"),
    ("rollover", "1.2", "enrollments"),
]


@pytest.mark.parametrize(("quirk", "version", "reason_part"), HELD, ids=[quirk for quirk, _, _ in HELD])
async def test_what_looks_like_a_district_that_empties_is_held(
    north: Town, sis: str, quirk: str, version: Version, reason_part: str
) -> None:
    """A delivery in which most rows are missing is held for approval, with exit code 4 and the reason.

    The roster is unchanged.
    """
    few = connect(sis, version, leave_out=GRADES)
    behave(sis, day=DAY)
    assert (await sync_rest(north, few)).state == "applied"
    before = await fingerprint(north)
    behave(sis, quirk, day=DAY)
    held = await sync_rest(north, few)
    assert (held.state, held.exit_code) == ("held", 4), held.sentence
    assert any(reason_part in reason for reason in held.held_because), held.held_because
    assert await fingerprint(north) == before


FAILED = [(["error-200:users"], 5), (["missing:classes"], 5), (["day-turns:2"], 6)]


@pytest.mark.parametrize(("quirks", "code"), FAILED, ids=[" ".join(quirks) for quirks, _ in FAILED])
async def test_what_cannot_be_read_whole_changes_nothing(north: Town, sis: str, quirks: list[str], code: int) -> None:
    """A source that cannot be read completely gives exit 5 or 6 before any row is changed."""
    few = connect(sis, "1.2", leave_out=GRADES)
    behave(sis, day=DAY)
    assert (await sync_rest(north, few)).state == "applied"
    before = await fingerprint(north)
    behave(sis, *quirks, day=DAY)
    failed = await sync_rest(north, few)
    assert (failed.state, failed.exit_code) == ("failed", code), failed.sentence
    assert await fingerprint(north) == before


TAKEN = ["no-tombstones", "re-enrolled", "lagging-users", "grades-names"]


@pytest.mark.parametrize("quirk", TAKEN)
async def test_what_is_only_odd_is_taken(north: Town, sis: str, quirk: str) -> None:
    """A source with a harmless quirk is synced on two days. A repeated sync of the second day changes nothing."""
    few = connect(sis, "1.2", leave_out=GRADES)
    for day in (0, 4):
        behave(sis, quirk, day=day)
        report = await sync_rest(north, few)
        assert report.state == "applied", report.sentence
    assert (await sync_rest(north, few)).total("changes") == 0
    grades = await ask(north, "SELECT DISTINCT unnest(grades) FROM person WHERE district_id = :district")
    assert {grade for (grade,) in grades} <= {"KG", *(f"{number:02}" for number in range(1, 13))}


@contextmanager
def _served(sample: Path) -> Iterator[str]:
    """Yields a server for the pages of a sample, with at most 500 rows in a page, and without stating this limit."""
    with zipfile.ZipFile(sample) as archive:
        files = {Path(name).stem: json.loads(archive.read(name)) for name in archive.namelist()}

    def answer(request: SisRequest) -> Reply:
        if request.name == "token":
            return Reply(body={"access_token": "t", "token_type": "bearer"})
        if request.name not in files:
            return Reply(404, {"imsx_codeMajor": "failure"})
        first = int(request.query["offset"])
        rows = files[request.name][request.name][first : first + min(500, int(request.query["limit"]))]
        return Reply(body={request.name: rows})

    with answering(answer) as (address, _):
        yield address


async def test_what_a_provider_of_others_served_is_taken_whole(north: Town) -> None:
    """The roster of a real provider (Grand Bend, Ed-Fi) is read completely.

    The provider's responses have no total, no Link header and at most 500 rows. Titles and usernames are empty.
    """
    if not SAMPLE.exists():
        pytest.skip("The samples of other authors are not in the folder next to this project.")
    with _served(SAMPLE) as address:
        report = await sync_rest(north, connect(address, "1.2"))
        assert report.state == "applied", report.sentence
        counted = {kind: report.kinds[kind].fetched for kind in ROSTER}
        assert counted == dict(zip(ROSTER, (4, 7, 84, 532, 2888, 12048, 960), strict=True))
        assert report.refusals == []
        assert report.total("quarantined") == 0
        repeated = await sync_rest(north, connect(address, "1.2"))
        assert (repeated.state, repeated.total("changes")) == ("applied", 0)
    grades = await ask(north, "SELECT DISTINCT unnest(grades) FROM person WHERE district_id = :district ORDER BY 1")
    assert [grade for (grade,) in grades] == [*(f"{number:02}" for number in range(1, 12)), "KG"]
    roles = dict(map(tuple, await ask(north, NIGHTLY)))
    assert roles == {"parent": 1872, "principal": 1, "student": 960, "teacher": 55}

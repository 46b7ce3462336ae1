"""Tests each quirk (deviation from the specification) of the sandbox SIS through the REST adapters.

The rows are the same as without the quirk, or the source is refused with the reason. Quirks that only the guard can
recognize (an empty collection, new ids, a rollover) are in `test_rest_sync`.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from app.sandbox.sis_quirks import QUIRKS
from app.sis.oneroster_rest.connection import GRADES
from app.sis.port import SourceInconsistent, SourceRefused
from tests.processes import TRUSTS_NOBODY
from tests.sis.rest_source import Rows, Version, alike, behave, connect, pulled, without
from tests.sis.sandbox_sis import running

DAY = 8  # nights after the first, so that some rows are tobedeleted
PAGE = 200
ROSTER = {"org", "academic_session", "course", "class", "person", "enrollment", "demographics", "role"}
VERSIONS: tuple[Version, ...] = ("1.1", "1.2")


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    """Yields the address of a sandbox SIS whose behaviour each test sets."""
    with running("--students", "60") as address:
        yield address


@pytest.fixture(scope="module")
def well(sis: str) -> dict[Version, Rows]:
    """Returns the rows that the sandbox SIS delivers without quirks, in each version of OneRoster."""
    behave(sis, day=DAY)
    return {version: asyncio.run(pulled(connect(sis, version)))[0] for version in VERSIONS}


WIRE = [
    *(["clamp:37"], ["no-total"], ["no-link"], ["no-total", "no-link", "clamp:37"], ["relative-next"]),
    *(["hostless-next"], ["foreign-next", "no-total", "clamp:50"], ["repeated-rows"], ["repeated-rows", "clamp:23"]),
    *(["repeated-rows", "clamp:23", "no-total", "no-link"], ["token-basic"], ["token-redirect"], ["no-expires"]),
    *(["no-expires", "token-dies:7"], ["token-dies:1"], ["throttle-silent:3"], ["bad-gateway:4"]),
    *(["gateway-timeout:4"], ["at-most:2"], ["html-errors", "bad-gateway:5"], ["no-code-minor", "bad-gateway:5"]),
]
SHAPES = [
    *(["flat-refs"], ["relative-hrefs"], ["grades-string"], ["grades-names"], ["periods-string"], ["periods-list"]),
    ["passwords"],
]
UNSEEN = [
    *((quirks, VERSIONS[number % 2]) for number, quirks in enumerate(WIRE)),  # one walk and one wire for both versions
    *((quirks, version) for quirks in SHAPES for version in VERSIONS),
]


@pytest.mark.parametrize(("quirks", "version"), UNSEEN, ids=lambda one: one if isinstance(one, str) else " ".join(one))
async def test_a_quirk_of_the_wire_or_of_a_shape_changes_no_row(
    sis: str, well: dict[Version, Rows], quirks: list[str], version: Version
) -> None:
    """Quirks of paging, references, lists, tokens and throttling change no row, and cause no warning."""
    behave(sis, *quirks, day=DAY)
    left_out = GRADES if version == "1.2" else frozenset()  # 1.1 has enough pages of grades for both
    rows, warnings = await pulled(connect(sis, version, page_size=PAGE, leave_out=left_out))
    assert rows == {kind: kind_rows for kind, kind_rows in well[version].items() if version == "1.1" or kind in ROSTER}
    assert warnings == ()
    assert "made-up" not in str(rows)  # a password is in no row of ours
    assert "password" not in str(rows)


OTHERWISE = [
    ("status-empty", ["status"]),
    ("status-missing", ["status"]),
    ("status-inactive", ["status"]),
    ("modified-null", ["dateLastModified"]),
    ("modified-offset", ["dateLastModified"]),
    ("modified-same", ["dateLastModified"]),
    ("no-titles", ["title"]),
    ("few-usernames", ["username"]),
    ("booleans:null", ["enabledUser", "primary", "asian", "white", "blackOrAfricanAmerican"]),
    ("extra-credit", ["score"]),
    ("exempt", ["score", "scoreStatus"]),
    ("vendor-status", ["scoreStatus"]),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("quirk", "columns"), OTHERWISE, ids=[quirk for quirk, _ in OTHERWISE])
async def test_a_quirk_of_a_value_changes_that_value_only(
    sis: str, well: dict[Version, Rows], quirk: str, columns: list[str], version: Version
) -> None:
    """A source's irregular values are passed on to the checks of the sync, and no row is missing."""
    more = ["americanIndianOrAlaskaNative", "nativeHawaiianOrOtherPacificIslander", "demographicRaceTwoOrMoreRaces"]
    left = [*columns, *more, "hispanicOrLatinoEthnicity"] if quirk == "booleans:null" else columns
    behave(sis, quirk, day=DAY)
    of_grades = version == "1.1" or not {"score", "scoreStatus"}.isdisjoint(columns)
    rows, warnings = await pulled(connect(sis, version, leave_out=frozenset() if of_grades else GRADES))
    expected = {kind: kind_rows for kind, kind_rows in well[version].items() if of_grades or kind in ROSTER}
    assert without(rows, *left) == without(expected, *left)
    assert rows != expected
    assert warnings == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", ["native", "string", "one"])
async def test_booleans_are_read_in_every_form(
    sis: str, well: dict[Version, Rows], form: str, version: Version
) -> None:
    """Booleans are read alike, whether they are written as true, "true" or 1."""
    behave(sis, f"booleans:{form}", day=DAY)
    rows, _ = await pulled(connect(sis, version, leave_out=GRADES))
    assert alike(rows) == {kind: kind_rows for kind, kind_rows in well[version].items() if kind in ROSTER}


@pytest.mark.parametrize("version", VERSIONS)
async def test_rows_that_are_not_served_are_the_only_ones_missing(
    sis: str, well: dict[Version, Rows], version: Version
) -> None:
    """If the SIS does not serve removed rows, all active rows are still delivered."""
    behave(sis, "no-tombstones", day=DAY)
    rows, _ = await pulled(connect(sis, version))
    for kind, kind_rows in rows.items():
        active = {one: row for one, row in well[version][kind].items() if row["status"] != "tobedeleted"}
        assert kind_rows == active
    assert any(row["status"] == "tobedeleted" for row in well[version]["enrollment"].values())
    behave(sis, "current-enrollments", day=DAY)
    current, _ = await pulled(connect(sis, version, leave_out=GRADES))
    assert current["person"] == well[version]["person"]
    assert 0 < len(current["enrollment"]) < len(well[version]["enrollment"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("quirk", ["row-per-school", "rekeyed", "re-enrolled", "rollover", "lagging-users"])
async def test_a_quirk_of_identity_is_passed_on_as_it_is(sis: str, quirk: str, version: Version) -> None:
    """A source's irregular sourcedIds are passed on unchanged, because the sync decides who is who."""
    behave(sis, quirk, day=DAY)
    rows, warnings = await pulled(connect(sis, version, leave_out=GRADES))
    assert warnings == ()
    named = {row["userSourcedId"] for row in rows["enrollment"].values()}
    assert quirk == "lagging-users" or named <= set(rows["person"])
    assert quirk != "rekeyed" or all(one.startswith("u2-") for one in rows["person"])
    pairs = [(row["userSourcedId"], row["classSourcedId"]) for row in rows["enrollment"].values()]
    assert (len(set(pairs)) < len(pairs)) == (quirk == "re-enrolled")


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_error_answered_200_is_refused(sis: str, version: Version) -> None:
    """A response that has the status 200 but reports an error is refused, and not read as an empty collection."""
    behave(sis, "error-200:enrollments")
    with pytest.raises(SourceRefused, match=r"something other than a list \(internal_server_error\)"):
        await pulled(connect(sis, version))
    behave(sis, "error-200:enrollments", "no-code-minor")
    with pytest.raises(SourceRefused, match="no row is removed"):
        await pulled(connect(sis, version))


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_empty_collection_is_a_delivery_without_rows(sis: str, version: Version) -> None:
    """A source with an empty collection of enrollments delivers no enrollments, and still delivers people."""
    behave(sis, "empty:enrollments", day=DAY)
    rows, _ = await pulled(connect(sis, version))
    assert rows["enrollment"] == {}
    assert rows["person"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_optional_may_be_missing(sis: str, well: dict[Version, Rows], version: Version) -> None:
    """A missing optional collection is left out with a warning."""
    behave(sis, "missing:demographics", "missing:results", "missing:gradingPeriods", day=DAY)
    rows, warnings = await pulled(connect(sis, version))
    assert warnings == ("The source has no results, demographics (404): left out.",)
    gone = {"demographics", "result"}
    assert rows == {kind: kind_rows for kind, kind_rows in well[version].items() if kind not in gone}


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_set_to_be_left_out_is_not_asked_for(
    sis: str, well: dict[Version, Rows], version: Version
) -> None:
    """Optional collections that the settings leave out are not requested, and cause no warning."""
    behave(sis, day=DAY)
    rows, warnings = await pulled(connect(sis, version, leave_out=frozenset({"demographics", "results", "users"})))
    assert set(well[version]) - set(rows) == {"demographics", "result"}
    assert warnings == ()


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_roster_needs_is_looked_for_elsewhere_or_refused(
    sis: str, well: dict[Version, Rows], version: Version
) -> None:
    """If a required collection is missing, its rows are read from other collections, such as schools instead of orgs.

    If no other collection has the rows, the source is refused.
    """
    behave(sis, "missing:orgs", "missing:users", "missing:academicSessions", day=DAY)
    rows, warnings = await pulled(connect(sis, version))
    roles = {"student", "teacher"}
    expected = {one: row for one, row in well[version]["person"].items() if row["role"] in roles}
    assert rows["person"] == expected
    assert set(rows["org"]) < set(well[version]["org"])
    assert set(warnings) == {
        "The source has no orgs: they are read from schools.",
        "The source has no users: they are read from students and teachers.",
        "The source has no academicSessions: they are read from terms and gradingPeriods.",
    }
    behave(sis, "missing:classes")
    with pytest.raises(SourceRefused, match=r"has no classes \(404\).*check its url"):
        await pulled(connect(sis, version))


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_day_that_turns_restarts_what_was_read(sis: str, version: Version) -> None:
    """If the source changes while it is read, the outdated collections are read again."""
    behave(sis, "day-turns:80", day=DAY)  # a pull is about 50 pages: the second meets the turn, and no other
    await pulled(connect(sis, version, page_size=100))
    assert _day(sis) == DAY
    turned, _ = await pulled(connect(sis, version, page_size=100))
    after = _day(sis)
    assert after == DAY + 1
    behave(sis, day=after)
    still, _ = await pulled(connect(sis, version))
    assert turned == still


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_source_that_never_stands_still_is_given_up(sis: str, version: Version) -> None:
    """A source that keeps changing is refused after three restarts."""
    behave(sis, "day-turns:3")
    with pytest.raises(SourceInconsistent, match="4 times in a row"):
        await pulled(connect(sis, version))


async def test_another_base_is_a_setting(sis: str, well: dict[Version, Rows]) -> None:
    """The base URL of a source can have another path. The source's gradebook is then read under the same path."""
    behave(sis, "base:learningdata/v1", day=DAY)
    rows, warnings = await pulled(connect(sis, "1.2", url=f"{sis}learningdata/v1"))
    assert (rows, warnings) == (well["1.2"], ())
    with pytest.raises(SourceRefused, match="check its url"):
        await pulled(connect(sis, "1.2"))


async def test_credentials_go_the_way_that_is_set(sis: str, well: dict[Version, Rows]) -> None:
    """The configured method of sign-in is used. If it is wrong, the error gives advice."""
    behave(sis, "token-body", day=DAY)
    rows, _ = await pulled(connect(sis, "1.1", auth="oauth2-body"))
    assert rows == well["1.1"]
    with pytest.raises(SourceRefused, match=r"invalid_client.*doctor"):
        await pulled(connect(sis, "1.1"))
    behave(sis, "oauth1-only", day=DAY)
    for signature in ("HMAC-SHA1", "HMAC-SHA256"):
        signed = connect(sis, "1.1", auth="oauth1", signature=signature, token_url=None, leave_out=GRADES)
        rows, _ = await pulled(signed)
        assert rows == {kind: kind_rows for kind, kind_rows in well["1.1"].items() if kind in ROSTER}
    with pytest.raises(SourceRefused, match="oauth1"):
        await pulled(connect(sis, "1.1"))
    with pytest.raises(SourceRefused, match="does not let us read"):
        await pulled(connect(sis, "1.1", auth="oauth1", client_secret="another"))


async def test_what_is_not_granted_is_left_out_or_refused(sis: str, well: dict[Version, Rows]) -> None:
    """If a source grants only the core scope, results and demographics are left out with a warning.

    If it does not grant the core scope, the source is refused.
    """
    behave(sis, day=DAY)
    purl = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
    rows, warnings = await pulled(connect(sis, "1.2", scopes=(f"{purl}roster-core.readonly",)))
    assert rows["person"] == well["1.2"]["person"]
    assert len(warnings) == 1
    assert warnings[0].startswith("The source does not let us read results, assessmentResults, demographics")
    with pytest.raises(SourceRefused, match=r"does not let us read \w+ \(403\).*scopes"):
        await pulled(connect(sis, "1.2", scopes=(f"{purl}gradebook.readonly",)))


async def test_a_scope_that_is_not_granted_costs_only_itself(sis: str, well: dict[Version, Rows]) -> None:
    """If one scope is not granted, a token for the granted scopes is requested."""
    behave(sis, day=DAY)
    purl = "https://purl.imsglobal.org/spec/or/v1p1/scope/"
    names = ["roster-core", "roster", "roster-demographics", "gradebook", "nonsense"]
    rows, warnings = await pulled(connect(sis, "1.1", scopes=tuple(f"{purl}{name}.readonly" for name in names)))
    assert rows == well["1.1"]
    assert warnings == ("The source does not grant nonsense.readonly: the token was requested without.",)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_delta_has_what_changed_with_its_status(sis: str, well: dict[Version, Rows], version: Version) -> None:
    """A delta contains the rows that changed after the given time, including removed rows, and no others."""
    behave(sis, day=DAY)
    since = datetime(2026, 11, 21, tzinfo=UTC)
    rows, warnings = await pulled(connect(sis, version), since)
    assert warnings == ()
    stamp = since.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    for kind, kind_rows in well[version].items():
        changed = {one: row for one, row in kind_rows.items() if row["dateLastModified"] > stamp}
        assert rows[kind] == changed, kind
    assert any(row["status"] == "tobedeleted" for row in rows["enrollment"].values())
    assert len(rows["enrollment"]) < len(well[version]["enrollment"])


def _day(address: str) -> int:
    return int(httpx.get(f"{address}sandbox", verify=TRUSTS_NOBODY).json()["day"])


def test_every_quirk_goes_through_the_adapters() -> None:
    """Each quirk (deviation from the specification) of the sandbox SIS is tested with the REST adapters."""
    source = Path(__file__).read_text()
    assert [name for name in QUIRKS if name.partition(":")[0] not in source] == []

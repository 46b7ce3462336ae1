"""Tests the synthetic district and its OneRoster 1.1 CSV export: valid, complete and repeatable."""

import csv
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter, defaultdict
from datetime import date
from itertools import islice, pairwise
from pathlib import Path

import pytest

from app.response.rules.choose import judge
from app.response.rules.series import Observation, Series
from app.sandbox.district import District
from app.sandbox.export import export_csv
from app.sandbox.growth import stopping_reader

pytestmark = pytest.mark.long

DATE = date(2026, 11, 21)
# The published 1.1 CSV binding, to the letter; written out here so that the export cannot agree with itself.
PUBLISHED = {
    "academicSessions": "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear",
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,metadata.classification,metadata.gender,"
    "metadata.boarding,parentSourcedId",
    "courses": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,"
    "subjects,subjectCodes",
    "classes": "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
    "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods",
    "users": "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,"
    "familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password",
    "enrollments": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
    "primary,beginDate,endDate",
    "demographics": "sourcedId,status,dateLastModified,birthDate,sex,americanIndianOrAlaskaNative,asian,"
    "blackOrAfricanAmerican,nativeHawaiianOrOtherPacificIslander,white,demographicRaceTwoOrMoreRaces,"
    "hispanicOrLatinoEthnicity,countryOfBirthCode,stateOfBirthAbbreviation,cityOfBirth,"
    "publicSchoolResidenceStatus",
}
ABSENT = {"categories", "classResources", "courseResources", "lineItems", "resources", "results"}

Rows = list[dict[str, str]]


def read(path: Path) -> dict[str, Rows]:
    """Returns the rows of every file of the zip, keyed by the file's name. Each row maps columns to values."""
    with zipfile.ZipFile(path) as archive:
        return {
            name.removesuffix(".csv"): list(csv.DictReader(io.StringIO(archive.read(name).decode("utf-8"), newline="")))
            for name in archive.namelist()
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sandbox") / "district.zip"
    export_csv(District(1, 1500, DATE), path)
    return path


@pytest.fixture(scope="module")
def roster(exported: Path) -> dict[str, Rows]:
    return read(exported)


def test_files_and_headers_are_those_of_the_binding(exported: Path) -> None:
    """The zip has the files, headers and line ends of OneRoster's CSV format."""
    with zipfile.ZipFile(exported) as archive:
        assert archive.namelist()[0] == "manifest.csv"
        assert {name.removesuffix(".csv") for name in archive.namelist()} == {"manifest", *PUBLISHED}
        for name, header in PUBLISHED.items():
            first, second, *_ = archive.read(f"{name}.csv").split(b"\r\n")
            assert first.decode("ascii") == header
            assert second, f"{name}.csv has a header and no row, which the binding does not allow"
            assert archive.read(f"{name}.csv").count(b"\n") == archive.read(f"{name}.csv").count(b"\r\n")


def test_manifest_names_all_thirteen_files(roster: dict[str, Rows]) -> None:
    """The manifest of an export states for each of the thirteen files whether it is bulk or absent."""
    manifest = {row["propertyName"]: row["value"] for row in roster["manifest"]}
    files = {name.removeprefix("file."): mode for name, mode in manifest.items() if name.startswith("file.")}
    assert files == dict.fromkeys(PUBLISHED, "bulk") | dict.fromkeys(ABSENT, "absent")
    assert len(files) == 13
    assert (manifest["manifest.version"], manifest["oneroster.version"]) == ("1.0", "1.1")
    assert manifest["source.systemName"]
    assert manifest["source.systemCode"] == "sandbox-1"


def test_values_are_in_the_bindings_forms(roster: dict[str, Rows], exported: Path) -> None:
    """Bulk rows have no status, and lists, dates and booleans are written in the forms of OneRoster's CSV format."""
    for name in PUBLISHED:
        assert all(row["status"] == row["dateLastModified"] == "" for row in roster[name])
    with zipfile.ZipFile(exported) as archive:
        assert b',"p2x1Q9zF21Z6,DgFIf5eaqPZS",' in archive.read("classes.csv")
    assert {row["enabledUser"] for row in roster["users"]} == {"true"}
    assert {row["primary"] for row in roster["enrollments"]} == {"true", "false", ""}
    assert all(row["primary"] == "" for row in roster["enrollments"] if row["role"] != "teacher")
    for row in roster["enrollments"]:
        assert date.fromisoformat(row["beginDate"]) < date.fromisoformat(row["endDate"])
    assert {row["schoolYear"] for row in roster["academicSessions"]} == {"2027"}
    assert {row["grades"] for row in roster["users"] if row["role"] == "student"} == {
        "KG",
        *(f"{grade:02}" for grade in range(1, 13)),
    }
    assert all(row["password"] == "" for row in roster["users"])


def complete(roster: dict[str, Rows]) -> None:
    """Checks that every reference is in the zip and every id is unique within its kind."""
    ids = {}
    for name in PUBLISHED:
        ids[name] = {row["sourcedId"] for row in roster[name]}
        assert len(ids[name]) == len(roster[name]), f"{name}: an id twice"
    for row in roster["classes"]:
        assert row["courseSourcedId"] in ids["courses"]
        assert row["schoolSourcedId"] in ids["orgs"]
        assert set(row["termSourcedIds"].split(",")) <= ids["academicSessions"]
    for row in roster["users"]:
        assert set(row["orgSourcedIds"].split(",")) <= ids["orgs"]
    schools = {row["sourcedId"]: row["schoolSourcedId"] for row in roster["classes"]}
    for row in roster["enrollments"]:
        assert row["userSourcedId"] in ids["users"]
        assert schools[row["classSourcedId"]] == row["schoolSourcedId"]
    for row in roster["courses"]:
        assert row["orgSourcedId"] in ids["orgs"]
        assert row["schoolYearSourcedId"] in ids["academicSessions"]
    for name in ("orgs", "academicSessions"):
        assert {row["parentSourcedId"] for row in roster[name]} - {""} <= ids[name]
    students = {row["sourcedId"] for row in roster["users"] if row["role"] == "student"}
    assert ids["demographics"] == students
    assert students == {row["userSourcedId"] for row in roster["enrollments"] if row["role"] == "student"}


def test_references_are_complete(roster: dict[str, Rows]) -> None:
    """Every reference in a bulk export leads to a row of the export, and every id is unique within its kind."""
    complete(roster)


@pytest.mark.parametrize("students", [1, 13, 400, 4000])
def test_any_size_is_complete(students: int, tmp_path: Path) -> None:
    """A district of any size has exactly the requested number of students, and each reference leads to a row."""
    export_csv(District(7, students, DATE), tmp_path / "d.zip")
    roster = read(tmp_path / "d.zip")
    complete(roster)
    assert sum(row["role"] == "student" for row in roster["users"]) == students


def test_the_default_district_is_plausible(roster: dict[str, Rows]) -> None:
    """The default sandbox district has three schools, 1,500 students, and classes of about 25 with one primary teacher.

    Each student is in ten classes.
    """
    roles = Counter(row["role"] for row in roster["users"])
    assert roles["student"] == 1500
    assert roles["administrator"] == 4
    assert 80 <= roles["teacher"] <= 130
    assert roles["aide"] >= 10
    names = [row["name"].split()[-2] for row in roster["orgs"] if row["type"] == "school"]
    assert names == ["Elementary", "Middle", "High"]
    sizes = Counter(row["classSourcedId"] for row in roster["enrollments"] if row["role"] == "student")
    assert len(sizes) == len(roster["classes"])
    assert min(sizes.values()) >= 18
    assert max(sizes.values()) <= 30
    assert sum(sizes.values()) == 15_000
    primary = Counter(row["classSourcedId"] for row in roster["enrollments"] if row["primary"] == "true")
    assert set(primary.values()) == {1}
    assert len(primary) == len(roster["classes"])


def test_nobody_is_in_two_classes_at_once(roster: dict[str, Rows]) -> None:
    """No student and no teacher has two classes in one period of a semester."""
    middle_and_high = {f"{grade:02}" for grade in range(6, 13)}
    meets = {
        row["sourcedId"]: [(row["periods"], term) for term in row["termSourcedIds"].split(",")]
        for row in roster["classes"]
        if row["grades"] in middle_and_high and row["periods"]
    }
    times: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in roster["enrollments"]:
        times[row["userSourcedId"]] += meets.get(row["classSourcedId"], [])
    assert all(len(taken) == len(set(taken)) for taken in times.values())


def test_people_are_unmistakably_made_up(roster: dict[str, Rows]) -> None:
    """Logins and e-mails are unique, and every e-mail is under the reserved example.org (RFC 2606)."""
    emails = [row["email"] for row in roster["users"] if row["email"]]
    assert len(emails) == len(set(emails))
    assert all(email.endswith(".example.org") and email.isascii() for email in emails)
    assert len({row["username"] for row in roster["users"]}) == len(roster["users"])
    assert any(not row["familyName"].isascii() for row in roster["users"]), "no name tests the encoding"
    assert len({row["familyName"] for row in roster["users"]}) > 300


def test_two_ids_differ_in_case_only(roster: dict[str, Rows]) -> None:
    """The sandbox has two users whose sourcedIds differ only in upper and lower case.

    A receiver that ignores case would merge these two children.
    """
    folded = Counter(row["sourcedId"].lower() for row in roster["users"])
    assert max(folded.values()) == 2


def test_demographics_are_coherent(roster: dict[str, Rows]) -> None:
    """A student's age fits the grade, and the races are consistent."""
    grades = {row["sourcedId"]: row["grades"] for row in roster["users"]}
    races = PUBLISHED["demographics"].split(",")[5:10]
    for row in roster["demographics"]:
        grade = grades[row["sourcedId"]]
        age = (date(2026, 9, 1) - date.fromisoformat(row["birthDate"])).days / 365.25
        assert -0.01 <= age - 5 - (0 if grade == "KG" else int(grade)) <= 1.01
        assert (sum(row[race] == "true" for race in races) == 2) == (row["demographicRaceTwoOrMoreRaces"] == "true")
    assert {row["sex"] for row in roster["demographics"]} == {"male", "female", ""}


def test_same_seed_same_bytes_in_another_process(exported: Path, tmp_path: Path) -> None:
    """The sandbox export has the same bytes in another process for the same seed, and other bytes for another seed."""
    again, other = tmp_path / "again.zip", tmp_path / "other.zip"
    command = [sys.executable, "-m", "app.sandbox.export", str(again), "--date", "2026-11-21"]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, encoding="utf-8")
    assert "Unified School District" in done.stdout
    assert again.read_bytes() == exported.read_bytes()
    export_csv(District(2, 1500, DATE), other)
    assert not {r["sourcedId"] for r in read(other)["users"]} & {r["sourcedId"] for r in read(exported)["users"]}


@pytest.mark.parametrize("day", [date(2026, 8, 1), date(2026, 12, 31), date(2027, 7, 31)])
def test_the_school_year_contains_the_date(day: date) -> None:
    """On any day of the year, the sandbox's school year contains the day. Its end date does not belong to it."""
    year = next(session for session in District(1, 100, day).academic_sessions() if session.type == "schoolYear")
    assert year.start_date <= day < year.end_date
    assert year.school_year == "2027"


def test_a_failed_export_leaves_no_zip(tmp_path: Path) -> None:
    """A failed export leaves no zip. An incomplete zip could be synced as if the district had become smaller."""

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_csv(District(1, 100, DATE), tmp_path / "d.zip", stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_row(exported: Path, tmp_path: Path) -> None:
    """The numbers that the progress bar shows add up to the rows written."""
    seen: list[int] = []
    export_csv(District(1, 1500, DATE), tmp_path / "d.zip", seen.append)
    assert sum(seen) == sum(len(rows) for name, rows in read(exported).items() if name != "manifest")


def test_a_large_district_streams() -> None:
    """Generating 20,000 students and 50,000 of their enrollments takes less than 3 MB of memory."""
    district = District(1, 20_000, DATE)
    tracemalloc.start()
    try:
        students = sum(user.role == "student" for user in district.users())
        enrollments = sum(1 for _ in islice(district.enrollments(), 50_000))  # all of them is slow when traced
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert students == 20_000
    assert enrollments == 50_000
    assert peak < 3_000_000, f"{peak:,} bytes held at once"


def test_a_day_changes_about_one_in_a_hundred(tmp_path: Path) -> None:
    """On each day about one in a hundred students leaves, enters or changes, and the rest stays."""
    first, later = District(3, 6000, DATE), District(3, 6000, DATE).on(1)
    before = {user.sourced_id: user for user in first.users()}
    after = {user.sourced_id: user for user in later.users()}
    left, came = before.keys() - after.keys(), after.keys() - before.keys()
    both = before.keys() & after.keys()
    moved = {one for one in both if before[one].org_sourced_ids != after[one].org_sourced_ids}
    renamed = {one for one in both if before[one].username != after[one].username}
    regraded = {one for one in both if before[one].grades != after[one].grades}
    assert 30 <= len(left) + len(came) + len(moved) <= 120
    assert all(len(change) >= 5 for change in (left, came, moved, renamed))
    assert len(regraded) >= 1
    assert sum(before[one] != after[one] for one in both) == len(moved | renamed | regraded)
    export_csv(later, tmp_path / "day1.zip")
    complete(read(tmp_path / "day1.zip"))


def test_days_build_on_each_other() -> None:
    """The changes of a day build on those of earlier days, and are the same whenever a day is computed."""
    days = [{user.sourced_id for user in District(3, 3000, DATE).on(day).users()} for day in (0, 1, 2, 5, 5)]
    assert days[3] == days[4]
    for earlier, next_day in pairwise(days):
        assert not (days[0] - earlier) & next_day
        assert earlier - days[0] <= next_day
    assert District(3, 3000, DATE).on(0) == District(3, 3000, DATE)


@pytest.mark.parametrize(("weeks", "baseline", "rate"), [(22, 42, 1.5), (26, 30, 1.5), (30, 60, 2.0)])
@pytest.mark.parametrize("seed", range(12))
def test_a_stopping_reader_is_flagged_after_the_stop_and_not_before(
    seed: int, weeks: int, baseline: float, rate: float
) -> None:
    """In the sandbox's example, a reader gets no alert while the scores rise, and gets an alert after they stop rising.

    This holds for each seed.
    """
    reader = stopping_reader(seed, weeks, baseline, rate)
    start = sorted(reader.baseline)[1]
    assert start == baseline
    assert len(reader.weekly) == weeks
    states = []
    for week in range(1, weeks + 1):
        seen = tuple(Observation(n, value) for n, value in enumerate(reader.weekly[:week], 1))
        verdict = judge("monitor", Series(seen, start, start + rate * 30, 30, "up", 8.0))
        states.append((verdict.state, verdict.kind))
    flagged = [week for week, (state, _) in enumerate(states, 1) if state == "not_responding"]
    assert flagged
    assert flagged[0] > reader.stopped_at
    assert states[flagged[0] - 1][1] == "stopped"
    assert "responding" in {state for state, _ in states[: reader.stopped_at]}
    assert reader == stopping_reader(seed, weeks, baseline, rate)


def test_a_story_too_short_is_refused() -> None:
    """A sandbox example with too few weeks to show that growth stopped is refused, with advice."""
    with pytest.raises(ValueError, match="20 weeks"):
        stopping_reader(1, weeks=19)
    with pytest.raises(ValueError, match="at least one student"):
        District(1, 0, DATE)

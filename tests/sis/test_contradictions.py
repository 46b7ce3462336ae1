"""Tests deliveries that contradict themselves, and new sourcedIds that would separate students from their records."""

from datetime import date
from pathlib import Path

import pytest

from app.core import ids
from app.evidence.service import NewScore
from app.response.service import record_scores
from app.sis.engine.report import Report
from app.sis.runs import approval, rekey
from app.sis.scheduler.report_text import render_rekeys
from tests.sis.case_zip import STUDENTS, CaseZip
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import STUDENTS as MORE
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

PRESENT = """SELECT e.sourced_id FROM person p JOIN external_id e ON e.district_id = :district AND e.kind = 'person'
     AND e.row_id = p.id JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'csv'
    WHERE p.district_id = :district AND p.removed_at IS NULL AND p.is_student"""
DEMOGRAPHICS = "sourcedId,status,dateLastModified,birthDate"


async def _sync(town: Town, case: CaseZip, folder: Path) -> Report:
    return await sync(town, case.write(folder / "case.zip"), folder)


async def _present(town: Town) -> set[str]:
    return {row[0] for row in await ask(town, PRESENT)}


async def _give_score(town: Town, sourced_id: str) -> None:
    """Records a score of a student."""
    student = ids.format_id("student", await row_id(town, "person", sourced_id))
    async with town.unit() as work:
        await record_scores(work, [NewScore(student, "orf", date(2026, 9, 9), 60.0)])


async def test_a_student_whom_enrollments_name_is_not_removed(north: Town, tmp_path: Path) -> None:
    """A student who is missing in users is not removed if enrollments of the delivery name this student.

    The enrollments wait in quarantine.
    """
    await _sync(north, CaseZip(), tmp_path)
    report = await _sync(north, CaseZip().drop("users", "U002", "U003"), tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0), report.sentence
    assert await _present(north) == {f"U{n:03}" for n in range(1, STUDENTS + 1)}
    assert [(one.code, one.sourced_id) for one in report.refusals] == [
        ("reference.removed", "E002"),
        ("reference.removed", "E003"),
    ]
    (rule,) = [one for one in report.weighed if one["rule"] == "contradicted"]
    assert (rule["count"], rule["held"]) == (2, False)


async def test_a_blank_around_an_id_changes_no_role(north: Town) -> None:
    """A sync over REST changes no role if there is a blank after the sourcedId of a user or of a role's org."""
    await sync_rows(north, RowsServer("1.2"))
    rows = RowsServer("1.2")
    rows.row("users", "s3")["sourcedId"] = "s3 "
    rows.row("users", "s4")["roles"][0]["org"]["sourcedId"] += " "
    report = await sync_rows(north, rows)
    assert (report.exit_code, report.total("changes")) == (0, 0), report.as_json()


@pytest.mark.parametrize("over", ["rest", "csv"])
async def test_a_kept_student_keeps_roles_and_demographics(north: Town, tmp_path: Path, over: str) -> None:
    """If a student is missing in the users but has enrollments, the sync keeps the student's roles and demographics.

    Earlier, it removed the student's only role, and also the demographics if they were missing.
    """

    async def run(*missing: str) -> Report:
        if over == "rest":
            rows = RowsServer("1.2")
            for name in ("users", "demographics"):
                rows.rows[name] = [row for row in rows.rows[name] if row["sourcedId"] not in missing]
            return await sync_rows(north, rows)
        export = Delivered(version="1.2")
        export.without("users", *missing)
        export.without("demographics", *missing)
        export.without("roles", *(f"ro-{each}" for each in missing))
        return await sync(north, export, tmp_path)

    await run()
    report = await run("s3")
    assert (report.exit_code, report.total("changes")) == (3, 0), report.as_json()
    assert report.kinds["role"].absent == report.kinds["demographics"].absent == 0
    assert (await run()).total("changes") == 0


async def test_a_school_and_a_term_that_the_delivery_refers_to_are_not_removed(north: Town, tmp_path: Path) -> None:
    """A school or a term that is missing in a delivery is kept if other rows of the delivery refer to it.

    Earlier, the school was removed alone, and its people and classes stayed in a school that no longer existed.
    """
    case = CaseZip().add("orgs", "S3,,,East School,school,S3,D")
    case.add("users", "T003,,,true,S3,teacher,t3,,Teach3,Family,,93,t3@example.org,,,,,")
    case.add("classes", "C5,,,Reading 5,03,K1,RD-5,scheduled,,S3,T1,Reading,,1")
    for number in range(100, 160):  # so many others that the guard holds nothing because of one row
        case.add("users", f"T{number},,,true,S1,teacher,t{number},,Teach{number},Other,,9{number},,,,,,")
        case.add("classes", f"K{number},,,Club,03,K1,CL{number},scheduled,,S1,Y,Reading,,1")
    await _sync(north, case, tmp_path)
    orgs = "SELECT count(*) FROM {} WHERE district_id = :district AND removed_at IS NULL"
    before = [await ask(north, orgs.format(table)) for table in ("org", "academic_session", "class", "person")]
    report = await _sync(north, case.drop("orgs", "S3").drop("academicSessions", "T1"), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert (report.kinds["org"].absent, report.kinds["academic_session"].absent) == (0, 0)
    assert [await ask(north, orgs.format(table)) for table in ("org", "academic_session", "class", "person")] == before
    assert {(one.code, one.sourced_id) for one in report.refusals} == {
        ("reference.removed", "C5"),
        ("reference.removed", "T003"),
    }
    assert [rule["count"] for rule in report.weighed if rule["rule"] == "contradicted"] == [2]
    assert sum("although the same delivery refers to it: kept" in each for each in report.warnings) == 2


async def test_a_school_that_closes_is_removed(north: Town, tmp_path: Path) -> None:
    """A school that closes is removed, even if ended enrollments still refer to it.

    It is also removed if people still refer to it, provided that they have another school too.
    """
    case = CaseZip().add("orgs", "S3,,,East School,school,S3,D")
    case.change("users", "U001,,,true,S1,", 'U001,,,true,"S1,S3",')
    case.add("enrollments", "E900,,,C1,S3,U001,student,false,2026-08-20,2026-09-01")
    await _sync(north, case, tmp_path)
    report = await _sync(north, case.drop("orgs", "S3"), tmp_path)
    assert report.kinds["org"].absent == 1, report.sentence


async def test_a_student_under_two_ids_of_one_delivery_is_not_in_the_roster_twice(north: Town, tmp_path: Path) -> None:
    """If users have a student's new sourcedId, but enrollments still have the old one, the sync changes nothing.

    The report lists both sourcedIds of the student.
    """
    await _sync(north, CaseZip(), tmp_path)
    case = CaseZip().change("users", "U002,,", "u002,,").change("users", "U003,,", "3,,")
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0), report.sentence
    assert await _present(north) == {f"U{n:03}" for n in range(1, STUDENTS + 1)}
    pairs = {(one["old"], one["new"], one["by"], one["set_aside"]) for one in report.rekeys}
    assert pairs == {("U002", "u002", "identifier", True), ("U003", "3", "identifier", True)}
    assert {("sourcedId.rekeyed", "u002"), ("reference.removed", "E002")} <= {
        (one.code, one.sourced_id) for one in report.refusals
    }


@pytest.mark.parametrize("has_records", [False, True])
async def test_zeros_that_a_spreadsheet_removed_are_a_new_id(north: Town, tmp_path: Path, has_records: bool) -> None:
    """If a spreadsheet removed the leading zeros of sourcedIds, the report lists each old id with its likely new id.

    A student with records keeps the old sourcedId.
    """
    before, after = CaseZip(), CaseZip()
    for number in (1, 2, 3):
        for case, sourced_id in ((before, f"{number:05}"), (after, str(number))):
            for file in ("users", "enrollments"):
                case.change(file, f"U{number:03},", f"{sourced_id},")
    await _sync(north, before, tmp_path)
    if has_records:
        await _give_score(north, "00001")
    report = await _sync(north, after, tmp_path)
    pairs = [(one["old"], one["new"], one["by"], one["set_aside"]) for one in report.rekeys]
    assert pairs == [(f"{n:05}", str(n), "identifier", has_records and n == 1) for n in (1, 2, 3)]
    assert (report.state, report.exit_code) == ("applied", 3 if has_records else 0)
    assert "00001" in await _present(north) if has_records else "1" in await _present(north)
    assert len(await _present(north)) == STUDENTS
    assert "--match likely" in render_rekeys(report)[-1]


async def test_a_student_over_rest_whom_enrollments_name_is_not_removed(north: Town) -> None:
    """A student whom enrollments still refer to is not removed by a delivery over REST."""
    rows = RowsServer()
    await sync_rows(north, rows)
    rows.users.remove(rows.row("users", "s3"))
    report = await sync_rows(north, rows)
    assert (report.exit_code, report.kinds["person"].absent) == (3, 0)
    assert len(await _present(north)) == MORE


async def test_a_student_in_classes_is_not_taken_out_of_every_school(north: Town, tmp_path: Path) -> None:
    """If a delivery names no school for a student with enrollments in classes, the student keeps the former school.

    This is so over CSV and over REST. A student without such enrollments has no school afterwards.
    """
    export = Export()
    await sync(north, export, tmp_path)
    schools = "SELECT cardinality(school_ids) FROM person WHERE district_id = :district AND id = :id"
    person = await row_id(north, "person", "s3")
    export.row("users", "s3")["orgSourcedIds"] = ""
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.total("changes")) == (3, 0)
    waiting = [("s3", "orgSourcedIds", "value.missing")]
    assert [(one.sourced_id, one.field, one.code) for one in report.refusals] == waiting
    assert await ask(north, schools, id=person) == [(1,)]
    rows = RowsServer()
    rows.row("users", "s3")["orgs"] = None
    over_rest = await sync_rows(north, rows)
    assert [(one.sourced_id, one.field, one.code) for one in over_rest.refusals] == waiting
    export.without("enrollments", "e3")
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.kinds["person"].updated) == (0, 1)
    assert await ask(north, schools, id=person) == [(0,)]


async def test_a_student_whose_enrollments_ended_is_removed(north: Town, tmp_path: Path) -> None:
    """A student whose enrollments have ended is removed, because ended enrollments contradict nothing."""
    await _sync(north, CaseZip(), tmp_path)
    ended = (
        CaseZip()
        .drop("users", "U002")
        .change("enrollments", "U002,student,false,2026-08-20,", "U002,student,false,2026-08-20,2026-09-01")
    )
    report = await _sync(north, ended, tmp_path)
    assert (report.state, report.kinds["person"].absent) == ("applied", 1)


def _rekeyed(case: CaseZip, *numbers: int) -> CaseZip:
    for number in numbers:
        case.change("users", f"U{number:03},", f"0{number},").change("enrollments", f"U{number:03},", f"0{number},")
    return case


async def test_new_ids_are_named_however_few_they_are(north: Town, tmp_path: Path) -> None:
    """If three students without records get new sourcedIds, the sync imports them under the new ids.

    The report lists the old and the new sourcedId of each student.
    """
    await _sync(north, CaseZip(), tmp_path)
    report = await _sync(north, _rekeyed(CaseZip(), 1, 2, 3), tmp_path)
    assert (report.state, report.exit_code, report.kinds["person"].created) == ("applied", 0, 3), report.sentence
    pairs = [(one["old"], one["new"], one["by"], one["set_aside"]) for one in report.rekeys]
    assert pairs == [(f"U00{n}", f"0{n}", "identifier", False) for n in (1, 2, 3)]


@pytest.mark.parametrize("by", ["identifier", "name and birth date", "email"])
async def test_a_student_with_records_is_set_aside(north: Town, tmp_path: Path, by: str) -> None:
    """If a student with records seems to have a new sourcedId, the sync changes nothing about the student.

    It does not add a second person either. All other changes of the delivery are applied.
    """

    def delivered(case: CaseZip) -> CaseZip:
        if by != "identifier":
            case.change("users", ",1001,", ",,")
        if by == "name and birth date":
            case.change("users", "u1@example.org", "")
            case.add(
                "demographics",
                DEMOGRAPHICS,
                "01,,,2018-01-01" if "\n01," in case.files["users"] else "U001,,,2018-01-01",
            )
        return case

    await _sync(north, delivered(CaseZip()), tmp_path)
    await _give_score(north, "U001")
    case = _rekeyed(CaseZip(), 1).change("users", "Given9,", "Renamed,").change("users", ",u1,", ",x1,")
    delivered(case)
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code, report.kinds["person"].updated) == ("applied", 3, 1), report.sentence
    assert [(one["old"], one["new"], one["by"], one["set_aside"]) for one in report.rekeys] == [
        ("U001", "01", by, True)
    ]
    assert await _present(north) == {f"U{n:03}" for n in range(1, STUDENTS + 1)}
    assert report.total("changes") == 1
    (count,) = await ask(
        north,
        "SELECT count(*) FROM enrollment WHERE district_id = :district AND person_id = :id AND removed_at IS NULL",
        id=await row_id(north, "person", "U001"),
    )
    assert count[0] == 1
    repeated = await _sync(north, case, tmp_path)
    assert (repeated.exit_code, repeated.total("changes"), len(repeated.rekeys)) == (3, 0, 1)


SPELLINGS = {
    "accents and a hyphen": ("Zoë-Lena", "Dvořák", "zoe lena", "DVORAK", "01", True),
    "accents as letters of their own": ("Zoë", "Núñez", "Zoe\u0308", "Nu\u0301n\u0303ez", "01", True),
    "an apostrophe": ("Sean", "O'Brien", "Sean", "O\u2019Brien", "01", True),
    "a name without Latin letters": ("\u674e", "\u96f7", "\u674e", "\u96f7", "01", True),
    "the number in the sourcedId": ("Ann", "Smith", "Ann", "Smith", "sis-1", False),
}
STRANGERS = {
    "a twin": ("Zoë", "Dvořák", "Eva", "Dvořák", "U0001", True),
    "another name without Latin letters": ("\u674e", "\u96f7", "\u738b", "\u82b3", "U0001", True),
    "a namesake with another number": ("Ann", "Smith", "Ann", "Smith", "U002-1", False),
}


@pytest.mark.parametrize("case", [*SPELLINGS, *STRANGERS])
async def test_a_name_in_another_spelling_is_the_same_name(north: Town, tmp_path: Path, case: str) -> None:
    """A student with records is set aside, even if the name of the new row has another spelling.

    Without a birth date and an identifier, the same name and the same number in the sourcedId suffice. Another person
    with the same family name and birth date is not taken for the student.
    """
    given, family, new_given, new_family, new_id, has_birth_date = (SPELLINGS | STRANGERS)[case]
    before, after = (
        CaseZip(),
        CaseZip().change("users", "U001,", f"{new_id},").change("enrollments", "U001,", f"{new_id},"),
    )
    for delivery, sourced_id, names in ((before, "U001", (given, family)), (after, new_id, (new_given, new_family))):
        delivery.change("users", "Given1,Family1,", f"{','.join(names)},").change(
            "users", ",1001,u1@example.org,", ",,,"
        )
        delivery.change("users", ",u1,", ",,")
        if has_birth_date:
            delivery.add("demographics", DEMOGRAPHICS, f"{sourced_id},,,2018-01-01")
    await _sync(north, before, tmp_path)
    await _give_score(north, "U001")
    report = await _sync(north, after, tmp_path)
    pairs = [(one["old"], one["new"], one["set_aside"]) for one in report.rekeys]
    assert pairs == ([("U001", new_id, True)] if case in SPELLINGS else []), report.as_json()
    assert ("U001" in await _present(north)) == (case in SPELLINGS)


async def test_an_identifier_that_lost_its_zeros_is_the_same(north: Town, tmp_path: Path) -> None:
    """If a spreadsheet removed the zeros of sourcedIds and identifiers, the likely new ids are still named."""
    before = CaseZip().change("users", ",1001,", ",0077,").change("users", "Given1,Family1", "Ann,Smith")
    after = CaseZip().change("users", ",1001,", ",77,").change("users", "Given1,Family1", "Ann,Jones")
    for file in ("users", "enrollments"):
        after.change(file, "U001,", "X9,")
    await _sync(north, before.change("users", "u1@example.org", ""), tmp_path)
    report = await _sync(north, after, tmp_path)
    assert [(one["old"], one["new"], one["by"]) for one in report.rekeys] == [("U001", "X9", "identifier")]


@pytest.mark.parametrize(("before", "after"), [("N/A", "N/A"), ("000", "0"), ("0", "0000"), ("unknown", "Unknown")])
async def test_an_identifier_that_many_have_identifies_nobody(
    north: Town, tmp_path: Path, before: str, after: str
) -> None:
    """A student who leaves while another one comes is removed, even if the source has no identifiers but one word."""
    first, second = CaseZip(), CaseZip()
    for case, word in ((first, before), (second, after)):
        for number in range(1, STUDENTS + 1):
            case.change("users", f",{1000 + number},u", f",{word},u")
    await _sync(north, first, tmp_path)
    await _give_score(north, "U001")
    second.drop("users", "U001").drop("enrollments", "E001")
    second.add("users", f"U099,,,true,S1,student,u99,,Eva,Other,,{after},u99@example.org,,,,03,")
    report = await _sync(north, second, tmp_path)
    assert (report.state, report.exit_code, report.rekeys) == ("applied", 0, []), report.as_json()
    assert await _present(north) == {"U099", *(f"U{n:03}" for n in range(2, STUDENTS + 1))}


async def test_siblings_who_share_an_e_mail_are_two_people(north: Town, tmp_path: Path) -> None:
    """Siblings with one e-mail address are not taken for one person with a new id."""
    first = CaseZip().change("users", ",1001,", ",,")
    await _sync(north, first, tmp_path)
    second = CaseZip().drop("users", "U001").drop("enrollments", "E001")
    second.add("users", "U099,,,true,S1,student,u99,,Sister,Family1,,,u1@example.org,,,,03,")
    report = await _sync(north, second, tmp_path)
    assert (report.state, report.kinds["person"].absent, report.rekeys) == ("applied", 1, [])


async def test_those_set_aside_get_their_new_ids_by_the_named_command(north: Town, tmp_path: Path) -> None:
    """If a student with records seems to have a new sourcedId, a sync changes nothing about the student.

    The command that the report names, with `--match likely`, then gives the student the new sourcedId.
    """
    await _sync(north, CaseZip(), tmp_path)
    await _give_score(north, "U001")
    person = await row_id(north, "person", "U001")
    case = _rekeyed(CaseZip(), 1)
    report = await _sync(north, case, tmp_path)
    assert any("--match likely" in line for line in render_rekeys(report))
    engine, keyring = north.worker_engine, north.settings.keyring
    plan = await rekey.plan_rekey(engine, keyring, north.district_id, report.run_id, rekey.LIKELY)
    assert (plan.state, plan.plan and plan.plan["rekey"]["matched"]) == ("held", 1), plan.sentence
    async with north.unit() as work:
        await approval.approve(work, plan.run_id, str(plan.plan and plan.plan["digest"]), False)
    await approval.execute_answer(engine, keyring, north.district_id, plan.run_id, lambda _doing, _done, _of: None)
    repeated = await _sync(north, case, tmp_path)
    assert (repeated.state, repeated.exit_code, repeated.rekeys) == ("applied", 0, []), repeated.sentence
    assert await row_id(north, "person", "01") == person
    assert await _present(north) == {"01", *(f"U{n:03}" for n in range(2, STUDENTS + 1))}

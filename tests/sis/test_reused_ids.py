"""Tests that a student's records are kept if a source gives the student's sourcedId to another person."""

import random
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import ids
from app.core.errors import Invalid
from app.evidence.service import NewScore
from app.response.service import record_scores
from app.sis.engine.report import Report
from app.sis.engine.review.identity import Identity, is_other_name, is_other_person
from app.sis.guard import GuardLimits
from app.sis.runs import quarantine
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.rekey import LIKELY, plan_rekey
from app.sis.runs.undo import undo
from app.sis.scheduler.report_text import render_rekeys
from tests.sis.roster_zip import Export, Row, ask, row_id, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

GIVEN = ("Ada", "Bruno", "Chloe", "Dario", "Elif", "Finn", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Levi")
FAMILY = ("Abel", "Berg", "Cruz", "Diaz", "Ekman", "Frost", "Gomez", "Hahn", "Ito", "Jung", "Katz", "Lind")
NAMES = ("givenName", "familyName", "identifier", "email", "username")
words = st.sampled_from((*GIVEN, "Zoë", "O'Neil", "Anne-Marie", "Лев", "李"))
days = st.dates(date(2008, 1, 1), date(2020, 12, 31))
identities = st.builds(Identity, words, words, days, st.integers(1, 10**6).map(str))


def _roster(seed: int) -> tuple[Export, random.Random]:
    """Returns a delivery in which no two students share a name, a birth date or an identifier."""
    chance, export = random.Random(seed), Export()  # a test's names are no secret
    whole = [(one, other) for one in GIVEN for other in FAMILY]
    names = chance.sample(whole, len(whole))
    for number, row in enumerate(row for row in export.rows["users"] if row["role"] == "student"):
        row["givenName"], row["familyName"] = names[number]
        row["identifier"] = str(70_000 + number)
        export.row("demographics", row["sourcedId"])["birthDate"] = (
            f"20{10 + number % 9}-0{1 + number % 9}-{10 + number // 9}"
        )
    return export, chance


def _exchange(export: Export, one: str, other: str, names: tuple[str, ...] = NAMES) -> None:
    """Exchanges two people of a delivery, so that each of them has the other one's sourcedId.

    The columns `names` of the file of users are exchanged, and the birth date and sex in the file of demographics.
    """
    for file, columns in (("users", names), ("demographics", ("birthDate", "sex"))):
        first, second = export.row(file, one), export.row(file, other)
        for column in columns:
            first[column], second[column] = second[column], first[column]


def _stranger(export: Export, sourced_id: str) -> Row:
    """Puts somebody who is not in the roster in the place of the person with this sourcedId. Returns the person's
    row.
    """
    export.row("demographics", sourced_id)["birthDate"] = "2016-12-24"
    values = {"givenName": "Zelda", "familyName": "Quill", "identifier": "99999", "email": "zelda@example.org"}
    row = export.row("users", sourced_id)
    row.update(values)
    return row


async def _give_score(town: Town, sourced_id: str) -> Any:
    person = await row_id(town, "person", sourced_id)
    async with town.unit() as work:
        await record_scores(work, [NewScore(ids.format_id("student", person), "orf", date(2026, 9, 9), 60.0)])
    return person


async def _name(town: Town, person: Any) -> str:
    rows = await ask(town, "SELECT given_name FROM person WHERE district_id = :district AND id = :id", id=person)
    return str(rows[0][0])


async def _rekey(town: Town, report: Report) -> Report:
    engine, keyring = town.worker_engine, town.settings.keyring
    plan = await plan_rekey(engine, keyring, town.district_id, report.run_id, LIKELY)
    async with town.unit() as work:
        await approve(work, plan.run_id, str(plan.plan and plan.plan["digest"]), False)
    return await execute_answer(engine, keyring, town.district_id, plan.run_id, lambda _doing, _done, _of: None)


def _pairs(report: Report) -> list[tuple[str, str | None, bool]]:
    assert all(each["reused"] for each in report.rekeys), report.rekeys
    return [(each["old"], each["new"], each["set_aside"]) for each in report.rekeys]


@given(identities, identities)
def test_one_changed_field_is_never_another_person(before: Identity, after: Identity) -> None:
    """A change of one field, or of both names alone, never means another person: it is a correction or a new name."""

    for name in ("given_name", "family_name", "birth_date", "identifier"):
        assert not is_other_person(before, replace(before, **{name: getattr(after, name)}))
    renamed = replace(before, given_name=after.given_name, family_name=after.family_name)
    assert not is_other_person(before, renamed)
    sibling = replace(after, family_name=before.family_name)
    assert not is_other_person(before, sibling)


@given(identities, identities)
def test_another_person_is_seen_in_both_directions(before: Identity, after: Identity) -> None:
    """The decision whether two people are the same does not depend on their order, nor on case, accents and blanks."""

    assert is_other_person(before, after) == is_other_person(after, before)
    shouted = replace(after, given_name=f" {after.given_name.upper()} ", family_name=after.family_name.upper())
    assert is_other_person(before, after) == is_other_person(before, shouted)
    if is_other_name(before.given_name, after.given_name) and is_other_name(before.family_name, after.family_name):
        exchanged = {before.given_name, before.family_name} == {after.given_name, after.family_name}
        differs = (before.birth_date, before.identifier) != (after.birth_date, after.identifier)
        assert is_other_person(before, after) == (differs and not exchanged)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Identity("Ada", "Berg", None, "", "a@x", "ada"), Identity("Bo", "Cruz", None, "", "b@x", "bo"), True),
        (Identity("Ada", "Berg", None, "", "a@x", "ada"), Identity("Bo", "Cruz", None, "", "b@x", "ada"), False),
        (Identity("Ada", "Berg"), Identity("Bo", "Cruz"), False),
        (Identity("Ada", "Berg", None, "1"), Identity("Berg", "Ada", None, "2"), False),
        (Identity("Ada", "Berg", None, "1"), Identity("Ada Maria", "Cruz", None, "2"), False),
        (Identity("", "", None, "1"), Identity("Bo", "Cruz", None, "2"), False),
        (Identity("Ada", "Berg", date(2010, 1, 2), "1"), Identity("Bo", "Cruz", date(2011, 3, 4), "1"), True),
    ],
)
def test_what_stands_for_another_person(before: Identity, after: Identity, expected: bool) -> None:
    """A row is about another person if the names differ, and the birth date or the identifier differs too.

    If the birth date and the identifier are unknown, the e-mail address and the username must both differ
    instead. Exchanged or longer names do not count as different.
    """
    assert is_other_person(before, after) == expected


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_exchanged_ids_do_not_exchange_records(north: Town, tmp_path: Path, seed: int) -> None:
    """Two known children whose sourcedIds were exchanged keep their names and records; all other rows are synced."""
    export, chance = _roster(seed)
    await sync(north, export, tmp_path)
    one, other, third = chance.sample([f"s{n}" for n in range(40)], 3)
    person = await _give_score(north, one)
    name = export.row("users", one)["givenName"]
    _exchange(export, one, other)
    export.row("users", third)["givenName"] = "Renamed"
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert _pairs(report) == sorted([(one, other, True), (other, one, True)])
    assert await _name(north, person) == name
    assert await _name(north, await row_id(north, "person", third)) == "Renamed"
    waiting = {(each.sourced_id, each.code) for each in report.refusals}
    assert {(one, "sourcedId.reused"), (other, "sourcedId.reused")} <= waiting
    repeated = await sync(north, export, tmp_path)
    assert (repeated.exit_code, repeated.total("changes"), _pairs(repeated)) == (3, 0, _pairs(report))
    _exchange(export, one, other)
    repaired = await sync(north, export, tmp_path)
    assert (repaired.exit_code, repaired.total("changes"), repaired.rekeys) == (0, 0, [])


@pytest.mark.parametrize("seed", [4, 5])
async def test_exchanged_ids_are_exchanged_by_the_named_command(north: Town, tmp_path: Path, seed: int) -> None:
    """If two students have really exchanged their sourcedIds, an operator can give each student the new sourcedId.

    This is done by a run that plans the change of sourcedIds, and the run can be undone.
    """
    export, chance = _roster(seed)
    await sync(north, export, tmp_path)
    one, other = chance.sample([f"s{n}" for n in range(0, 40, 2)], 2)
    person, name = await _give_score(north, one), export.row("users", one)["givenName"]
    _exchange(export, one, other)
    report = await sync(north, export, tmp_path)
    assert any("--match likely" in line for line in render_rekeys(report))
    done = await _rekey(north, report)
    assert (done.state, await row_id(north, "person", other)) == ("applied", person)
    repeated = await sync(north, export, tmp_path)
    assert (repeated.exit_code, repeated.rekeys, await _name(north, person)) == (0, [], name)
    latest = (
        await undo(
            north.worker_engine, north.settings.keyring, north.district_id, repeated.run_id, lambda _a, _b, _c: None
        )
        if repeated.total("changes")
        else None
    )
    assert latest is None or latest.state == "applied"
    undone = await undo(
        north.worker_engine, north.settings.keyring, north.district_id, done.run_id, lambda _a, _b, _c: None
    )
    assert (undone.state, await row_id(north, "person", one)) == ("applied", person)


async def test_an_id_issued_again_does_not_rename_a_student(north: Town, tmp_path: Path) -> None:
    """If a row gives a student's sourcedId to a person with another name, birth date and identifier, it is not
    imported.

    Once an operator has approved a plan that frees the sourcedId, the next sync adds the new person under it.
    """
    export, _ = _roster(6)
    await sync(north, export, tmp_path)
    person = await _give_score(north, "s3")
    name = await _name(north, person)
    _stranger(export, "s3")
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, _pairs(report)) == (3, [("s3", None, True)])
    assert await _name(north, person) == name
    await _rekey(north, report)
    following = await sync(north, export, tmp_path)
    assert (following.state, following.rekeys) == ("applied", []), following.sentence
    assert await row_id(north, "person", "s3") != person
    assert await _name(north, await row_id(north, "person", "s3")) == "Zelda"
    (gone,) = await ask(
        north, "SELECT given_name, removed_at FROM person WHERE district_id = :district AND id = :id", id=person
    )
    assert gone[0] == name
    assert gone[1] is not None


async def test_the_id_of_a_student_who_left_is_issued_again(north: Town, tmp_path: Path) -> None:
    """If the sourcedId of a student who left years ago is issued again, that student's records do not come back with
    it.
    """
    export, _ = _roster(7)
    await sync(north, export, tmp_path)
    person = await _give_score(north, "s3")
    name = await _name(north, person)
    rows = {file: export.without(file, "s3", "e3") for file in ("users", "demographics", "enrollments")}
    assert (await sync(north, export, tmp_path)).kinds["person"].absent == 1
    for file, removed in rows.items():
        export.rows[file] += removed
    _stranger(export, "s3")
    report = await sync(north, export, tmp_path)
    assert (_pairs(report), await _name(north, person)) == ([("s3", None, True)], name)


async def test_a_person_can_state_that_a_student_is_the_same(north: Town, tmp_path: Path) -> None:
    """A student whose names and identifier really changed at once is imported once an operator has confirmed this."""
    export, _ = _roster(8)
    await sync(north, export, tmp_path)
    person = await _give_score(north, "s3")
    _stranger(export, "s3")
    report = await sync(north, export, tmp_path)
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await quarantine.acknowledge_rows(work, report.run_id, same_person=True)
    async with north.unit() as work:
        rows = await quarantine.find_reused(work, report.run_id, ["s3"])
        await quarantine.acknowledge_rows(work, report.run_id, rows, same_person=True)
    following = await sync(north, export, tmp_path)
    assert (following.exit_code, following.rekeys, await _name(north, person)) == (0, [], "Zelda")


async def test_a_plain_acknowledgement_does_not_import_another_person(north: Town, tmp_path: Path) -> None:
    """Acknowledging all rows of a run changes its exit code, but never gives a person's records another name."""
    export, _ = _roster(9)
    await sync(north, export, tmp_path)
    person = await _give_score(north, "s3")
    name = await _name(north, person)
    _stranger(export, "s3")
    report = await sync(north, export, tmp_path)
    async with north.unit() as work:
        await quarantine.acknowledge_rows(work, report.run_id)
    following = await sync(north, export, tmp_path)
    assert (following.exit_code, await _name(north, person)) == (0, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"familyName": "Married", "email": "new@example.org", "username": "new"},
        {"givenName": "Corrected", "identifier": "123"},
        {"givenName": "Corrected", "familyName": "Adopted"},
        {"birthDate": "2016-12-24"},
        {"familyName": "Married", "birthDate": "2016-12-24"},
        {"identifier": "123", "birthDate": "2016-12-24"},
    ],
    ids=lambda changes: " ".join(changes),
)
async def test_corrections_are_not_held(north: Town, tmp_path: Path, changes: dict[str, str]) -> None:
    """A marriage, a corrected name and a corrected birth date are imported, also for students with records."""
    export, _ = _roster(10)
    await sync(north, export, tmp_path)
    await _give_score(north, "s3")
    for file in ("users", "demographics"):
        row = export.row(file, "s3")
        row.update({name: value for name, value in changes.items() if name in export.columns(file)})
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.rekeys, report.total("changes") > 0) == (0, [], True), report.sentence


async def test_twins_are_held_only_if_their_ids_were_exchanged(north: Town, tmp_path: Path) -> None:
    """If the given names of twins were exchanged by mistake and a clerk corrects this, the rows are imported.

    If the identifiers are exchanged too, the sourcedIds were exchanged, and the rows are not imported.
    """
    export, _ = _roster(11)
    for column in ("familyName", "orgSourcedIds"):
        export.row("users", "s4")[column] = export.row("users", "s6")[column]
    export.row("demographics", "s4")["birthDate"] = export.row("demographics", "s6")["birthDate"]
    await sync(north, export, tmp_path)
    await _give_score(north, "s4")
    _exchange(export, "s4", "s6", ("givenName",))
    corrected = await sync(north, export, tmp_path)
    assert (corrected.exit_code, corrected.rekeys) == (0, []), corrected.rekeys
    _exchange(export, "s4", "s6", ("givenName", "identifier"))
    exchanged = await sync(north, export, tmp_path)
    assert _pairs(exchanged) == [("s4", "s6", True), ("s6", "s4", True)]


async def test_children_of_one_name_are_told_apart(north: Town, tmp_path: Path) -> None:
    """Exchanged sourcedIds of two children with the same name are recognized by birth date and identifier."""
    export, _ = _roster(14)
    for column in ("givenName", "familyName"):
        export.row("users", "s4")[column] = export.row("users", "s7")[column]
    await sync(north, export, tmp_path)
    await _give_score(north, "s4")
    _exchange(export, "s4", "s7")
    assert _pairs(await sync(north, export, tmp_path)) == [("s4", "s7", True), ("s7", "s4", True)]


async def test_without_records_the_roster_follows_and_the_report_names_it(north: Town, tmp_path: Path) -> None:
    """Exchanged sourcedIds of children without records are applied, because nothing can be lost, and are reported."""
    export, _ = _roster(12)
    await sync(north, export, tmp_path)
    _exchange(export, "s4", "s7")
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, _pairs(report)) == (0, [("s4", "s7", False), ("s7", "s4", False)])
    assert report.kinds["person"].updated == 2


async def test_ids_that_are_row_numbers_hold_the_run(north: Town, tmp_path: Path) -> None:
    """If all sourcedIds shift by one row, the run is held.

    After a plan of new sourcedIds is approved, a known child keeps name and record under the new sourcedId.
    """
    export, _ = _roster(13)
    last = export.without("users", "s39") + export.without("demographics", "s39")
    export.without("enrollments", "e39")
    await sync(north, export, tmp_path)
    person = await _give_score(north, "s20")
    name = await _name(north, person)
    users = [dict(export.row("users", f"s{n}")) for n in range(10, 39)]
    births = [export.row("demographics", f"s{n}")["birthDate"] for n in range(10, 39)]
    export.rows["users"].append(last[0])
    export.rows["demographics"].append(last[1])
    for number, (user, birth) in enumerate(zip(users, births, strict=True), start=11):
        export.row("users", f"s{number}").update({column: user[column] for column in NAMES})
        export.row("demographics", f"s{number}")["birthDate"] = birth
    _stranger(export, "s10")
    report = await sync(north, export, tmp_path)
    assert report.state == "held", report.sentence
    assert any("would pass to other people" in each for each in report.held_because)
    assert ("s20", "s21", False) in _pairs(report)
    await _rekey(north, report)
    following = await sync(north, export, tmp_path, limits=GuardLimits(removed=1, lost=1, changed=1))
    assert await row_id(north, "person", "s21") == person
    assert (following.state, await _name(north, person)) == ("applied", name), following.sentence


async def test_exchanged_ids_over_rest_wait_too(north: Town) -> None:
    """If two people's sourcedIds were exchanged, their rows over REST are not imported, as with CSV."""
    rows = RowsServer()
    await sync_rows(north, rows)
    await _give_score(north, "s3")
    one, other = rows.row("users", "s3"), rows.row("users", "s4")
    for column in ("givenName", "familyName", "identifier", "email", "username"):
        one[column], other[column] = other[column], one[column]
    report = await sync_rows(north, rows)
    assert (report.exit_code, _pairs(report)) == (3, [("s3", "s4", True), ("s4", "s3", True)])

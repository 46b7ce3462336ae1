"""Writes notes on items of agendas as members of the simulated year's teams, and checks who can read them."""

from __future__ import annotations

from typing import Final

from bench.year.records import NoteRecord, TeamRecord
from bench.year.roster import COUNSELLOR, OTHER_TEACHER, SPECIALIST, external
from bench.year.state import Year
from bench.year.truth import serves

Told = set[tuple[str, str, str, int]]
"""Notes: the id, the item, the text and the version of each."""
AMENDED: Final = "It was the grandfather."


def write(year: Year, team: TeamRecord, item: str, student: str | None, text: str) -> None:
    """Lets the specialist write a note on an item of the agenda."""
    body = {"text": f"{text} ({len(year.noted) + 1})"}
    note = year.caller.post(f"/v1/agenda-items/{item}/notes", body, act_for=external(SPECIALIST))
    right = None if student is None else year.student_ids[student]
    year.require(note["student"] == right, f"a note on an item about {student} is about {note['student']}")
    year.noted.append(NoteRecord(note["id"], item, team, student, body["text"]))


def amend(year: Year) -> None:
    """Lets the specialist amend the newest note that was not amended yet, after its meeting was closed."""
    notes = [each for each in year.noted if each.version == 1 and serves(year, each.team, each.student)]
    if notes:
        note = notes[-1]
        note.text, note.version = f"{note.text} {AMENDED}", 2
        body = {"text": note.text, "because": AMENDED}
        year.caller.post(f"/v1/notes/{note.id}/amend", body, act_for=external(SPECIALIST))


def ask_about_notes(year: Year) -> tuple[Told, Told, Told]:
    """Returns three sets of notes: those that the benchmark wrote, those that REST returns, and those of GraphQL.

    Also checks the filter by item, the number of stored changes, and who can read notes.
    """
    told = {(each.id, each.item, each.text, each.version) for each in year.noted}
    read = {(each["id"], each["about"], each["text"], each["version"]) for each in year.caller.all("/v1/notes")}
    document = "{ notes(first: 100) { edges { node { id aboutId text version changes { version } } } } }"
    queried = [edge["node"] for edge in year.caller.query(document)["notes"]["edges"]]
    year.require(
        all(len(each["changes"]) == each["version"] - 1 for each in queried), "an amended note lacks its earlier text"
    )
    for item in {each.item for each in year.noted[-3:]}:
        about = {each["id"] for each in year.caller.all("/v1/notes", about=item)}
        right = {each.id for each in year.noted if each.item == item}
        year.require(about == right, f"an item has {len(about)} notes instead of {len(right)}")
    _check_readers(year)
    return told, read, {(each["id"], each["aboutId"], each["text"], each["version"]) for each in queried}


def _check_readers(year: Year) -> None:
    """Checks that a teacher of no team reads no notes, and that a member of one team reads only that team's notes."""
    others = list(year.caller.all("/v1/notes", act_for=external(OTHER_TEACHER)))
    year.require(not others, f"a teacher of neither team reads {len(others)} notes")
    team = year.teams["problem-solving"]
    read = {each["id"] for each in year.caller.all("/v1/notes", act_for=external(COUNSELLOR))}
    of_team = {each.id for each in year.noted if each.team is team}
    served = {each.id for each in year.noted if each.team is team and serves(year, team, each.student)}
    year.require(served <= read <= of_team, f"the counsellor reads {len(read)} notes instead of {len(served)}")

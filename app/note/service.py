"""Writes notes and amends them. An amendment keeps the earlier text, and nothing is removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core import ids
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import (
    AGENDA_NOTE_AMENDED,
    AGENDA_NOTE_WRITTEN,
    NOTE_AMENDED,
    NOTE_WRITTEN,
    EventType,
    NewEvent,
)
from app.events.outbox import record
from app.note.models import Note, NoteChange
from app.note.rules import NOTED_BY_ID, check_author, check_kind
from app.roster.lookup import today_of
from app.roster.student_lock import lock_row_after_student, lock_student_of
from app.support.models import Support
from app.team.lookup import find_team

MAX_AT_ONCE: Final = 200
NOTED: Final[dict[str, type[Concern] | type[Support]]] = {"concern": Concern, "support": Support}
"""The models of the kinds of records in `NOTED_BY_ID`."""
NOTE_TEXT = Text(min=1, max=8000)
BECAUSE = Text(min=1, max=500)


@dataclass(frozen=True, slots=True)
class NewNote:
    """A note to be written about a record of one student."""

    about: Annotated[
        str,
        About("The record that it is about: the id of a concern or of a support.", "con_01jq4n6d9zf3vbs0x5k2m7e8te"),
    ]
    text: Annotated[str, NOTE_TEXT, About("The text.", "Reads fluently at home with her grandmother.")]
    team: Annotated[str | None, About("The team in whose work it was written.", "tea_01jq4n6d9zf3vbs0x5k2m7e8th")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class NotedRecord:
    """A record that a note is about, with the columns that decide who may see the note.

    `agenda_team_id` and `agenda_team_school_id` are the team of an agenda item and the school of this team.
    """

    kind: str
    id: UUID
    student_id: UUID | None
    school_ids: Sequence[UUID]
    secured_area: str | None
    agenda_team_id: UUID | None = None
    agenda_team_school_id: UUID | None = None


@needs(Can.WRITE_NOTES)
async def write_note(work: Work, new: NewNote) -> Note:
    """Writes a note about a concern or a support that the caller may see."""
    violations = Violations(input_violations(new))
    with violations:
        subject, kind = await _lock_subject(work, new.about)
    with violations:
        team_id = None if new.team is None else (await find_team(work, new.team)).id
    violations.refuse()
    about = NotedRecord(kind, subject.id, subject.student_id, subject.school_ids, subject.secured_area)
    return await save_note(work, about, new.text, team_id)


@needs(Can.WRITE_NOTES)
async def save_note(work: Work, about: NotedRecord, text: str, team_id: UUID | None) -> Note:
    """Saves a note about a record whose student the caller has locked, and records its event."""
    note = Note(
        district_id=work.district_id,
        id=new_id(),
        student_id=about.student_id,
        school_ids=list(about.school_ids),
        secured_area=about.secured_area,
        agenda_team_id=about.agenda_team_id,
        agenda_team_school_id=about.agenda_team_school_id,
        about_kind=about.kind,
        about_id=about.id,
        text=text,
        author_id=work.principal.person_id,
        author_client=work.principal.client_id,
        team_id=team_id,
        written_on=await today_of(work),
        created_at=now(),
        version=1,
    )
    work.db.add(note)
    await work.db.flush()
    _emit(work, note, NOTE_WRITTEN, AGENDA_NOTE_WRITTEN)
    return note


@needs(Can.WRITE_NOTES)
async def amend_note(
    work: Work,
    note_id: UUID,
    text: Annotated[str, NOTE_TEXT, About("The new text.", "Reads fluently at home with her grandfather.")],
    because: Annotated[str, BECAUSE, About("Why it is amended.", "It was the grandfather.")],
) -> Note:
    """Replaces the text of a note that the caller wrote, and keeps the earlier text with the reason for the change.

    Raises `Forbidden` for a note of another author.
    """
    violations = Violations()
    with violations:
        NOTE_TEXT.require(text, "/text")
    with violations:
        BECAUSE.require(because, "/because")
    note = await lock_row_after_student(work, Note, note_id)
    if note is None:
        raise NotFound("note")
    principal = work.principal
    check_author(note.author_id, note.author_client, principal.person_id, principal.client_id)
    violations.refuse()
    work.disclose("note", [] if note.student_id is None else [note.student_id])
    work.db.add(
        NoteChange(
            district_id=note.district_id,
            student_id=note.student_id,
            school_ids=note.school_ids,
            secured_area=note.secured_area,
            agenda_team_id=note.agenda_team_id,
            agenda_team_school_id=note.agenda_team_school_id,
            id=new_id(),
            note_id=note.id,
            version=note.version,
            text=note.text,
            because=because,
            changed_at=now(),
        )
    )
    note.text = text
    note.version += 1
    await work.db.flush()
    _emit(work, note, NOTE_AMENDED, AGENDA_NOTE_AMENDED)
    return note


async def _lock_subject(work: Work, name: str) -> tuple[Concern | Support, str]:
    """Locks the student of the concern or support with the id `name`. Returns this concern or support, and its kind."""
    kind, row_id = ids.parse_any_id(name, "/about")
    check_kind(kind, "/about", NOTED_BY_ID)
    model = NOTED[kind]
    subject: Concern | Support | None = await lock_student_of(work, model, model.id, row_id)
    if subject is None:
        detail = f"There is no such {kind} within this caller's reach."
        raise Invalid([Violation("/about", f"{kind}.unknown", detail)])
    work.disclose(kind, [subject.student_id])
    return subject, kind


def _emit(work: Work, note: Note, of_student: EventType, of_agenda: EventType) -> None:
    """Records the event about a note. Its type is `of_agenda` for a note about an agenda item, otherwise `of_student`.

    An agenda item may be about no student, so the event about its note contains the id of the team instead.
    """
    type_, more_ids = of_student, {"student": note.student_id}
    school_ids = tuple(note.school_ids)
    if note.agenda_team_id is not None:
        type_, more_ids = of_agenda, {"team": note.agenda_team_id}
        if note.student_id is None and note.agenda_team_school_id is not None:
            school_ids = (note.agenda_team_school_id,)
    record(
        work,
        NewEvent(
            type=type_,
            subject_id=note.id,
            subject_version=note.version,
            ids={name: row_id for name, row_id in more_ids.items() if row_id is not None},
            student_id=note.student_id,
            school_ids=school_ids,
            secured_area=note.secured_area,
        ),
    )

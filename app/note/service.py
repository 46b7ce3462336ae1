"""Writes notes and amends them. An amendment keeps the earlier text, and nothing is removed."""

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
from app.events.catalogue import NOTE_AMENDED, NOTE_WRITTEN, EventType
from app.events.outbox import record, student_event
from app.note.models import Note, NoteChange
from app.note.rules import check_author, check_kind
from app.roster.lookup import today_of
from app.roster.student_lock import lock_student_of
from app.support.models import Support
from app.team.lookup import find_team

MAX_AT_ONCE: Final = 200
NOTED: Final[dict[str, type[Concern] | type[Support]]] = {"concern": Concern, "support": Support}
"""The model of each kind of record that can have notes."""
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


@needs(Can.WRITE_NOTES)
async def write_note(work: Work, new: NewNote) -> Note:
    """Writes a note about a concern or a support within the caller's reach."""
    violations = Violations(input_violations(new))
    with violations:
        subject, kind = await _lock_subject(work, new.about)
    with violations:
        team_id = None if new.team is None else (await find_team(work, new.team)).id
    violations.refuse()
    note = Note(
        district_id=work.district_id,
        id=new_id(),
        student_id=subject.student_id,
        school_ids=subject.school_ids,
        secured_area=subject.secured_area,
        about_kind=kind,
        about_id=subject.id,
        text=new.text,
        author_id=work.principal.person_id,
        author_client=work.principal.client_id,
        team_id=team_id,
        written_on=await today_of(work),
        created_at=now(),
        version=1,
    )
    work.db.add(note)
    await work.db.flush()
    _emit(work, NOTE_WRITTEN, note)
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
    note = await lock_student_of(work, Note, Note.id, note_id)
    if note is None:
        raise NotFound("note")
    principal = work.principal
    check_author(note.author_id, note.author_client, principal.person_id, principal.client_id)
    violations.refuse()
    work.disclose("note", [note.student_id])
    work.db.add(
        NoteChange(
            district_id=note.district_id,
            student_id=note.student_id,
            school_ids=note.school_ids,
            secured_area=note.secured_area,
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
    _emit(work, NOTE_AMENDED, note)
    return note


async def _lock_subject(work: Work, name: str) -> tuple[Concern | Support, str]:
    """Locks the student of the concern or support with the id `name`. Returns this concern or support, and its kind."""
    kind, row_id = ids.parse_any_id(name, "/about")
    check_kind(kind, "/about")
    model = NOTED[kind]
    subject: Concern | Support | None = await lock_student_of(work, model, model.id, row_id)
    if subject is None:
        detail = f"There is no such {kind} within this caller's reach."
        raise Invalid([Violation("/about", f"{kind}.unknown", detail)])
    work.disclose(kind, [subject.student_id])
    return subject, kind


def _emit(work: Work, type_: EventType, note: Note) -> None:
    record(work, student_event(type_, note))

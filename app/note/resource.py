"""Declares the public shape of notes: the resource, its list, its links and its commands."""

from datetime import date, datetime
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work
from app.concern.models import Concern
from app.concern.resource import ConcernResource
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.events.catalogue import AGENDA_NOTE_AMENDED, NOTE_AMENDED, NOTE_WRITTEN
from app.note import service
from app.note.models import Note, NoteChange
from app.note.rules import NOTED_KINDS, check_kind
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import field, one, reference, reference_of
from app.resources.listing import Filter, Listing
from app.resources.members import Id, One
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.support.models import Support
from app.support.resource import SupportResource


class NoteResource(
    Resource[Note], kind="note", requires=Can.READ_NOTES, about=Note.student_id, name="Note", get="note"
):
    """A text about a concern, a support or an agenda item, by one author.

    It is never removed, and amendments keep earlier texts.
    """

    student: One[StudentResource] | None = one(
        Note.student_id, StudentResource, "The student that it is about; null if the agenda item is about none."
    )
    about_id: Id | None = reference_of(
        Note.about_id, Note.about_kind, NOTED_KINDS, "The record that it is about.", rest="about"
    )
    text: str = field(Note.text, "The text.", "Reads fluently at home with her grandmother.")
    author: One[StaffResource] | None = one(Note.author_id, StaffResource, "The person who wrote it, if a person did.")
    team_id: Id | None = reference(Note.team_id, "team", "The team in whose work it was written.", rest="team")
    written_on: date = field(Note.written_on, "The day on which it was written.")
    version: int = field(Note.version, "The number of texts that it has had; the ETag.", 1)


class NoteChangeResource(
    Resource[NoteChange], requires=Can.READ_NOTES, about=NoteChange.student_id, discloses="note", name="NoteChange"
):
    """The text of a note before its author amended it."""

    version: int = field(NoteChange.version, "The note's version before the amendment.", 1)
    text: str = field(
        NoteChange.text,
        "The text until then; empty once it is deleted.",
        "Reads fluently at home with her grandmother.",
    )
    because: str = field(NoteChange.because, "Why it was amended.", "It was the grandfather.")
    changed_at: datetime = field(NoteChange.changed_at, "When it was amended.")
    expired_at: datetime | None = field(
        NoteChange.expired_at, "When the text was deleted, usually after a year; null while it is kept."
    )


async def _subject_id(work: Work, text: str, pointer: str | None) -> UUID:
    """Returns the UUID in the public id of a record about which notes can be written.

    For any other id, raises `Invalid` at `pointer`, or `NotFound` if `pointer` is None.
    """
    try:
        kind, row_id = ids.parse_any_id(text, pointer or "")
        check_kind(kind, pointer or "")
    except Invalid:
        if pointer is None:
            raise NotFound("note") from None
        raise
    return row_id


LINKS = (
    Link(
        NoteResource,
        "changes",
        NoteChangeResource,
        NoteChange.note_id == Note.id,
        "Its earlier texts, oldest first.",
        order=(NoteChange.version,),
    ),
    Link(
        ConcernResource,
        "notes",
        NoteResource,
        Note.about_id == Concern.id,
        "The notes about it, oldest first.",
        order=(Note.id,),
    ),
    Link(
        SupportResource,
        "notes",
        NoteResource,
        Note.about_id == Support.id,
        "The notes about it, oldest first.",
        order=(Note.id,),
    ),
    Link(
        StudentResource,
        "notes",
        NoteResource,
        Note.student_id == Person.id,
        "Every note about a record of the student, oldest first.",
        order=(Note.id,),
    ),
)

LISTINGS = (
    Listing(
        "notes",
        NoteResource,
        "Notes in the order in which they were written.",
        filters=(
            by_student(Note.student_id),
            by_school(Note),
            Filter(
                "about",
                str,
                lambda subject_id: Note.about_id == subject_id,
                "Only notes about this concern, support or agenda item.",
                "con_01jq4n6d9zf3vbs0x5k2m7e8te",
                graphql="about_id",
                resolve=_subject_id,
                bound=UUID,
                narrow=True,
            ),
        ),
        schools=Note,
        changed_at=Note.updated_at,
    ),
)

COMMANDS = (
    Command(
        "write_note",
        service.write_note,
        NoteResource,
        "Writes a note about a concern or a support.",
        "POST /notes",
        emits=(NOTE_WRITTEN,),
        status=201,
        bulk=service.MAX_AT_ONCE,
        items="notes",
    ),
    Command(
        "amend_note",
        service.amend_note,
        NoteResource,
        "Replaces the text of a note, by its author. The text before it is kept.",
        "POST /notes/{note}/amend",
        emits=(NOTE_AMENDED, AGENDA_NOTE_AMENDED),
        body=Body("NoteAmendment", "The new text of a note, and the reason."),
    ),
)

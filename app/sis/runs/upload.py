"""Checks the headers of uploaded files (roster zips or CSV files of scores), and stores the files for their runs.

A file is stored until its run has ended. The processes share the database but no disk, so the file is stored in the
database, where any worker that claims the run can read it. This module never checks a row of a file.
"""

import re
import tempfile
import zipfile
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.errors import Busy, Conflict, Invalid, Violation
from app.core.ids import new_id
from app.sis.models import SisUpload, SisUploadSlot
from app.sis.oneroster_csv.archive import ZipRefused
from app.sis.oneroster_csv.fetch import ROSTER_ZIP, SCORES_CSV, FileForm
from app.sis.port import NothingNew, OpenedSource, SourceRefused
from app.sis.sources.service import load_source

PART: Final = 1 << 20
AT_ONCE: Final = 2  # The number of uploads of one district at the same time, over all processes.
# The lease of an upload slot; when it ends, the slot of a process that died becomes free.
LEASE: Final = timedelta(minutes=2)
SILENCE: Final = 30.0  # Seconds without a byte after which an upload is aborted.
MAX_UPLOAD_SECONDS: Final = 3600.0  # Seconds that one upload may take in total.
_FILE = re.compile(r"[A-Za-z]+\.csv\b")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an upload, and the id of the upload that has it.

    A district has `AT_ONCE` places, so it can send no more uploads than that at the same time.
    """

    place: int
    holder: UUID


def form_of(kind: str) -> FileForm:
    """Returns the file format for sources of this kind: a roster zip or a CSV file of scores."""
    return SCORES_CSV if kind == "scores-csv" else ROSTER_ZIP


def validate_upload(file: IO[bytes], kind: str, leave_out: Collection[str] = ()) -> None:
    """Raises `Invalid` with every violation in an uploaded file.

    For a zip, the manifest and the headers of its files are checked; for a CSV file of scores, its header.
    """
    try:
        with form_of(kind).opened(file, leave_out):
            pass
    except zipfile.BadZipFile:
        raise Invalid(
            [Violation("", "archive.unreadable", "The body is no zip that can be read to its end.")]
        ) from None
    except SourceRefused as error:
        sentences = error.sentences if isinstance(error, ZipRefused) else (error.detail,)
        raise Invalid([Violation(_pointer(text), "archive.unfit", text) for text in sentences]) from None


def _pointer(sentence: str) -> str:
    """Returns `/users.csv` for a sentence that begins with `users.csv`. Returns an empty text if it names no file."""
    match = _FILE.match(sentence)
    return f"/{match.group()}" if match else ""


@needs(Can.RUN_SYNC)
async def require_upload_source(work: Work, source_id: UUID, kind: str = "oneroster-csv") -> list[str]:
    """Checks that files may be uploaded for a source. Returns the names of the files that its settings leave out.

    Raises `NotFound` for an unknown source, and `Conflict` if the source is not of the given kind.
    """
    configured = await load_source(work, source_id)
    if configured.source.kind != kind:
        noun = form_of(kind).noun
        raise Conflict(f"A {noun} can be sent here to a source of the kind {kind} only.", code="source.kind")
    return list(configured.settings.left_out)


@needs(Can.RUN_SYNC)
async def claim_slot(work: Work) -> Slot:
    """Claims one of the district's places for uploads, for the duration `LEASE`.

    Raises `Busy` if all places are in use.
    """
    holder = new_id()
    for place in range(AT_ONCE):
        claim = upsert(SisUploadSlot).values(
            district_id=work.district_id,
            place=place,
            holder=holder,
            taken_at=func.now(),
            leased_until=func.now() + LEASE,
        )
        free = claim.on_conflict_do_update(
            index_elements=["district_id", "place"],
            set_={name: claim.excluded[name] for name in ("holder", "taken_at", "leased_until")},
            where=SisUploadSlot.leased_until <= claim.excluded.taken_at,
        )
        if await work.db.scalar(free.returning(SisUploadSlot.place)) is not None:
            return Slot(place, holder)
    raise Busy(
        f"The district is sending {AT_ONCE} files already. Send this one when one of them has ended.",
        code="upload.busy",
    )


@needs(Can.RUN_SYNC)
async def renew_slot(work: Work, slot: Slot, length: timedelta = LEASE) -> None:
    """Renews the lease of a place for uploads for `length`. A length of zero frees the place.

    If another upload has claimed the place meanwhile, nothing changes.
    """
    await work.db.execute(
        update(SisUploadSlot)
        .where(
            SisUploadSlot.district_id == work.district_id,
            SisUploadSlot.place == slot.place,
            SisUploadSlot.holder == slot.holder,
        )
        .values(leased_until=func.now() + length)
    )


@needs(Can.RUN_SYNC)
async def save_upload(work: Work, run_id: UUID, file: IO[bytes]) -> None:
    """Saves an uploaded file for a run that is requested in the same transaction."""
    file.seek(0)
    place = 0
    while part := file.read(PART):
        ids = {"district_id": work.district_id, "id": new_id(), "run_id": run_id}
        await work.db.execute(insert(SisUpload).values(**ids, place=place, part=part))
        place += 1


@needs(Can.SYNC_ROSTER)
async def has_upload(work: Work, run_id: UUID) -> bool:
    """Returns whether a zip was uploaded for this run."""
    mine = (SisUpload.district_id == work.district_id, SisUpload.run_id == run_id)
    return await work.db.scalar(select(SisUpload.id).where(*mine).limit(1)) is not None


@asynccontextmanager
async def open_missing_upload(form: FileForm) -> AsyncIterator[OpenedSource]:
    """Raises `NothingNew`: the source reads only uploaded files, and none was uploaded for this run."""
    raise NothingNew(
        f"No {form.noun} was uploaded: this source only reads {form.noun}s that are uploaded to it over REST."
    )
    yield


@asynccontextmanager
async def open_upload(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    run_id: UUID,
    form: FileForm,
    leave_out: Collection[str] = (),
) -> AsyncIterator[OpenedSource]:
    """Opens the file that was uploaded for a run; raises `SourceRefused` if it cannot be read."""
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        async with unit(engine, system_principal(district_id, "sync"), keyring, "sync upload") as work:
            await _write_parts(work, run_id, file)
        try:
            source = stack.enter_context(form.opened(file, leave_out))
        except zipfile.BadZipFile:
            raise SourceRefused("The zip that was sent cannot be read. Send it again.") from None
        yield source


@needs(Can.SYNC_ROSTER)
async def _write_parts(work: Work, run_id: UUID, file: IO[bytes]) -> None:
    mine = (SisUpload.district_id == work.district_id, SisUpload.run_id == run_id)
    for place in await work.db.scalars(select(SisUpload.place).where(*mine).order_by(SisUpload.place)):
        part = await work.db.scalar(select(SisUpload.part).where(*mine, SisUpload.place == place))
        file.write(part or b"")

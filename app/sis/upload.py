"""Owns a roster zip that is sent over a face: judged by its headers, kept in parts until its run has ended.

The processes share the database and no disk: whichever worker takes the run up finds the zip there. Never judges a row.
"""

import re
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_take
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import house_principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.errors import Busy, Conflict, Invalid, Violation
from app.core.ids import new_id
from app.sis.models import SisUpload, SisUploadSlot
from app.sis.oneroster_csv.archive import CsvZip, ZipRefused
from app.sis.oneroster_csv.unzip import open_archive
from app.sis.port import NothingNew, OpenedSource, SourceRefused
from app.sis.sources import load_source

PART: Final = 1 << 20
AT_ONCE: Final = 2  # uploads of one district, over all processes
LEASE: Final = timedelta(minutes=2)  # of an upload's place; a process that is lost frees it by this
SILENCE: Final = 30.0  # seconds without a byte, after which an upload is given up
LONGEST: Final = 3600.0  # seconds that one may take in all
_FILE = re.compile(r"[A-Za-z]+\.csv\b")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an upload, and who has it."""

    place: int
    holder: UUID


def validate_roster_zip(file: IO[bytes]) -> None:
    """Raises `Invalid` with everything that is wrong with a zip, its manifest and its files' headers."""
    try:
        with open_archive(file) as archive:
            CsvZip(archive)
    except zipfile.BadZipFile:
        raise Invalid(
            [Violation("", "archive.unreadable", "The body is no zip that can be read to its end.")]
        ) from None
    except SourceRefused as error:
        said = error.sentences if isinstance(error, ZipRefused) else (error.detail,)
        raise Invalid([Violation(_pointer(one), "archive.unfit", one) for one in said]) from None


def _pointer(sentence: str) -> str:
    """The file of the zip that a sentence begins with."""
    named = _FILE.match(sentence)
    return f"/{named.group()}" if named else ""


@needs(Can.RUN_SYNC)
async def require_upload_source(work: Work, source_id: UUID) -> None:
    """Raises `NotFound`, and `Conflict` where the source is no source of CSV."""
    found = await load_source(work, source_id)
    if found.source.kind != "oneroster-csv":
        raise Conflict("A zip can be sent to a source of the kind oneroster-csv only.", code="source.kind")


@needs(Can.RUN_SYNC)
async def claim_slot(work: Work) -> Slot:
    """Takes one of the district's places for an upload, for as long as `LEASE`. Raises `Busy` where all are taken."""
    holder = new_id()
    for place in range(AT_ONCE):
        taken = insert_or_take(SisUploadSlot).values(
            district_id=work.district_id,
            place=place,
            holder=holder,
            taken_at=func.now(),
            leased_until=func.now() + LEASE,
        )
        free = taken.on_conflict_do_update(
            index_elements=["district_id", "place"],
            set_={name: taken.excluded[name] for name in ("holder", "taken_at", "leased_until")},
            where=SisUploadSlot.leased_until <= taken.excluded.taken_at,
        )
        if await work.db.scalar(free.returning(SisUploadSlot.place)) is not None:
            return Slot(place, holder)
    raise Busy(
        f"The district is sending {AT_ONCE} zips already. Send this one when one of them has ended.",
        code="upload.busy",
    )


@needs(Can.RUN_SYNC)
async def renew_slot(work: Work, slot: Slot, length: timedelta = LEASE) -> None:
    """Renews the lease of a place, or ends it with a length of nothing; one that another has taken is left alone."""
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
    """Keeps a zip for the run that was asked for in the same transaction."""
    file.seek(0)
    place = 0
    while part := file.read(PART):
        of = {"district_id": work.district_id, "id": new_id(), "run_id": run_id}
        await work.db.execute(insert(SisUpload).values(**of, place=place, part=part))
        place += 1


@needs(Can.SYNC_ROSTER)
async def has_upload(work: Work, run_id: UUID) -> bool:
    """Whether a zip was sent for this run."""
    mine = (SisUpload.district_id == work.district_id, SisUpload.run_id == run_id)
    return await work.db.scalar(select(SisUpload.id).where(*mine).limit(1)) is not None


@asynccontextmanager
async def open_missing_upload() -> AsyncIterator[OpenedSource]:
    """Of a source that is read nowhere: a run without a zip of its own has nothing to do."""
    raise NothingNew("Nothing was sent: this source reads the zips that are sent to it over REST, and nothing else.")
    yield


@asynccontextmanager
async def open_upload(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, run_id: UUID
) -> AsyncIterator[OpenedSource]:
    """Opens the zip that was sent for a run. Raises `SourceRefused`."""
    with tempfile.TemporaryFile() as file:
        async with unit(engine, house_principal(district_id, "sync"), keyring, "sync upload") as work:
            await _fill(work, run_id, file)
        try:
            archive = open_archive(file)
        except zipfile.BadZipFile:
            raise SourceRefused("The zip that was sent cannot be read. Send it again.") from None
        with archive:
            yield CsvZip(archive)


@needs(Can.SYNC_ROSTER)
async def _fill(work: Work, run_id: UUID, file: IO[bytes]) -> None:
    mine = (SisUpload.district_id == work.district_id, SisUpload.run_id == run_id)
    for place in await work.db.scalars(select(SisUpload.place).where(*mine).order_by(SisUpload.place)):
        part = await work.db.scalar(select(SisUpload.part).where(*mine, SisUpload.place == place))
        file.write(part or b"")

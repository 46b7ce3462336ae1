"""Owns where a CSV zip comes from: an https address, a file, or a folder in which new ones are dropped.

A download is bounded and lies in a file without a name. A file that is still being written is left; one that was taken
already is not taken again unless it is asked for. Never judges what is in a zip.
"""

import asyncio
import hashlib
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any, Final

import aiohttp

from app.core.address import Allowed, validate_url
from app.core.clock import now
from app.core.disk_space import is_full
from app.core.errors import Invalid
from app.core.outbound import AddressRefused, checked_session
from app.sis.oneroster_csv.archive import CsvZip
from app.sis.oneroster_csv.unzip import open_archive
from app.sis.port import Delivery, NothingNew, Progress, SourceRefused

LARGEST: Final = 8 << 30  # bytes of a zip
QUIET_SECONDS: Final = 20.0  # seconds without a change, after which a dropped file counts as whole
TIMEOUT: Final = aiohttp.ClientTimeout(total=4 * 3600, sock_connect=30, sock_read=120)
CHUNK: Final = 1 << 20
AGENT: Final = "Aimline-Sync/1"
Taken = Mapping[str, Any]
"""What is remembered of a file that was taken: name, size, mtime (nanoseconds), digest (SHA-256)."""


@dataclass(frozen=True, slots=True)
class FetchedZip:
    """A zip as the port's Source, with what is remembered of the file, and as of when it is."""

    deliveries: Mapping[str, Delivery]
    not_taken: tuple[str, ...]
    warnings: tuple[str, ...]
    taken: dict[str, Any]
    as_of: datetime


@asynccontextmanager
async def open_path(path: Path, taken: Sequence[Taken], *, again: bool) -> AsyncIterator[FetchedZip]:
    """Opens a zip, or the next one of a folder. With `again`, the newest, taken before or not.

    Raises `NothingNew` where there is none that was not taken, `SourceRefused` where there is none at all.
    """
    found = await asyncio.to_thread(_choose, path, taken, again)
    with _opened(found) as (file, archive):
        yield await asyncio.to_thread(_source, file, archive, found.name)


@asynccontextmanager
async def open_url(url: str, allowed: Allowed, progress: Progress) -> AsyncIterator[FetchedZip]:
    """Downloads a zip and opens it. Raises `SourceRefused` with what is wrong."""
    with tempfile.TemporaryFile() as file:
        as_of = await _download(url, allowed, file, progress)
        try:
            archive = open_archive(file)
        except zipfile.BadZipFile:
            raise SourceRefused("What the source sends is no zip that can be read.") from None
        with archive:
            source = await asyncio.to_thread(_source, file, archive, "roster.zip")
            yield FetchedZip(source.deliveries, source.not_taken, source.warnings, source.taken, as_of)


async def _download(url: str, allowed: Allowed, file: IO[bytes], progress: Progress) -> datetime:
    """Fills the file; the source's own time, where it says one."""
    began, done = now(), 0
    try:
        fit = validate_url(url, allowed)
        async with checked_session(allowed, 1.0) as web:
            async with web.get(fit, headers={"User-Agent": AGENT}, allow_redirects=False, timeout=TIMEOUT) as answer:
                if answer.status != 200:
                    raise SourceRefused(f"The source answers {answer.status} where the zip should be. Look at its URL.")
                of = answer.content_length or 0
                async for chunk in answer.content.iter_chunked(CHUNK):
                    done += len(chunk)
                    if done > LARGEST:
                        raise SourceRefused(f"The source sends more than {LARGEST >> 30} GiB: no roster is as large.")
                    await asyncio.to_thread(file.write, chunk)
                    progress("downloading the zip", done, of)
                return _response_time(answer.headers.get("Date")) or began
    except Invalid as error:
        said = " ".join(violation.detail for violation in error.violations)
        raise SourceRefused(f"The source's url cannot be used. {said}") from None
    except aiohttp.ClientConnectorDNSError:
        raise SourceRefused("The zip could not be fetched: the host name in its URL is not known.") from None
    except (AddressRefused, aiohttp.ClientError, TimeoutError, OSError) as error:
        if is_full(error):  # not the source's fault
            raise
        raise SourceRefused(f"The zip could not be fetched ({type(error).__name__}). Try again later.") from None


def _response_time(header: str | None) -> datetime | None:
    """When the source says that it answered; never ahead of our own clock."""
    try:
        return min(parsedate_to_datetime(header).astimezone(UTC), now()) if header else None
    except (ValueError, OverflowError):
        return None


def _choose(path: Path, taken: Sequence[Taken], again: bool) -> Path:
    """The file to take: of those that were not taken the newest whole delivery, else the oldest delta after it."""
    if not path.is_dir():
        if not path.is_file():
            raise SourceRefused("There is no such file or folder on this machine.")
        if not again and _is_taken(path, taken):
            raise NothingNew(_nothing_new(path.name))
        return path
    settled = [one for one in sorted(path.iterdir(), key=_changed) if _is_whole(one)]
    if again and settled:
        return settled[-1]
    last = max((int(one["mtime"]) for one in taken), default=0)
    fresh = [one for one in settled if _changed(one) >= last and not _is_taken(one, taken)]
    if not fresh:
        raise NothingNew(_nothing_new(path.name) if settled else "There is no zip in the folder yet that is whole.")
    # Older deltas are part of a newer whole delivery; without one each counts, in their order.
    return next((one for one in reversed(fresh) if _is_bulk(one)), fresh[0])


def _nothing_new(name: str) -> str:
    return f"Nothing new lies in {name}: what is there was taken before. To take it again, ask for a full run."


def _changed(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0


def _is_whole(path: Path) -> bool:
    """Whether this is a zip that nobody writes any more: a link, a part, a fresh or an unfinished one is not."""
    if path.suffix.lower() != ".zip" or path.name.startswith((".", "~")) or path.is_symlink() or not path.is_file():
        return False
    quiet = now().timestamp() - _changed(path) / 1e9
    return quiet >= QUIET_SECONDS and zipfile.is_zipfile(path)


def _is_taken(path: Path, taken: Sequence[Taken]) -> bool:
    now_is = path.stat()
    if any(
        (one["name"], one["size"], one["mtime"]) == (path.name, now_is.st_size, now_is.st_mtime_ns) for one in taken
    ):
        return True
    alike = [one for one in taken if one["size"] == now_is.st_size]
    if not alike:
        return False
    with path.open("rb") as file:
        digest = _digest(file)
    return any(one["digest"] == digest for one in alike)


def _is_bulk(path: Path) -> bool:
    """Whether every file of a zip is whole; one that cannot be read counts, so that it is refused in its sentence."""
    try:
        with _opened(path) as (_, archive):
            return all(one.complete for one in CsvZip(archive).deliveries.values())
    except SourceRefused:
        return True


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    """The file and the zip in it: the same bytes, whatever takes the file's place meanwhile."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceRefused(f"{path.name} cannot be opened: {os.strerror(error.errno or 0)}.") from None
    with file:
        try:
            archive = open_archive(file)
        except zipfile.BadZipFile:
            raise SourceRefused(f"{path.name} is not a zip that can be read.") from None
        with archive:
            yield file, archive


def _source(file: IO[bytes], archive: zipfile.ZipFile, name: str) -> FetchedZip:
    there = os.fstat(file.fileno())
    taken = {"name": name, "size": there.st_size, "mtime": there.st_mtime_ns, "digest": _digest(file)}
    read = CsvZip(archive)
    as_of = datetime.fromtimestamp(there.st_mtime, UTC)
    return FetchedZip(read.deliveries, read.not_taken, read.warnings, taken, as_of)


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    found = hashlib.sha256()
    while chunk := file.read(CHUNK):
        found.update(chunk)
    return found.hexdigest()

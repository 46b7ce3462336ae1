"""Fetches a roster zip or a CSV file of scores from an https address, from a path, or from a folder.

A download has a size limit and goes to an unnamed temporary file. A file that is still being written is skipped. A file
that was imported before is imported again only if this is requested. Never checks the contents of a file.
"""

import asyncio
import hashlib
import os
import ssl
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
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
from app.sis.oneroster_csv.scores import ScoreFile
from app.sis.oneroster_csv.unzip import open_archive
from app.sis.port import Delivery, NothingNew, OpenedSource, Progress, SourceRefused

MAX_ZIP_BYTES: Final = 8 << 30  # The maximum number of bytes of a zip.
QUIET_SECONDS: Final = 20.0  # Seconds without a change after which a file counts as complete.
TIMEOUT: Final = aiohttp.ClientTimeout(total=4 * 3600, sock_connect=30, sock_read=120)
CHUNK: Final = 1 << 20
AGENT: Final = "Aimline-Sync/1"
REMEMBERED: Final = 1000  # The number of earlier imported files with which a new file is compared.
Taken = Mapping[str, Any]
"""The description of an imported file: name, size, mtime (nanoseconds) and digest (SHA-256)."""


@contextmanager
def _opened_zip(file: IO[bytes], leave_out: Collection[str]) -> Iterator[OpenedSource]:
    with open_archive(file) as archive:
        yield CsvZip(archive, leave_out)


@contextmanager
def _opened_scores(file: IO[bytes], leave_out: Collection[str]) -> Iterator[OpenedSource]:
    yield ScoreFile(file)


@dataclass(frozen=True, slots=True)
class FileForm:
    """What kind of file a source delivers: a roster zip, or a CSV file of scores.

    * `suffix`: the end of the file names.
    * `noun`: the word for such a file in messages.
    * `name`: the name under which a downloaded file is recorded.
    * `opened`: opens such a file.
    """

    suffix: str
    noun: str
    name: str
    opened: Callable[[IO[bytes], Collection[str]], AbstractContextManager[OpenedSource]]


ROSTER_ZIP: Final = FileForm(".zip", "zip", "roster.zip", _opened_zip)
SCORES_CSV: Final = FileForm(".csv", "CSV file", "scores.csv", _opened_scores)


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A fetched file as an `OpenedSource`. `taken` describes the file, and `as_of` is the time of its data."""

    deliveries: Mapping[str, Delivery]
    not_taken: tuple[str, ...]
    warnings: tuple[str, ...]
    taken: dict[str, Any]
    as_of: datetime


@asynccontextmanager
async def open_path(
    path: Path,
    taken: Sequence[Taken],
    *,
    reimport: bool,
    or_newest: bool = False,
    leave_out: Collection[str] = (),
    form: FileForm = ROSTER_ZIP,
) -> AsyncIterator[FetchedFile]:
    """Opens the file at a path, or, if the path is a folder, the file of the folder that is to be imported next.

    `taken` describes the files that were imported before. With `reimport`, the newest file of a folder is opened even
    if it was imported before. With `or_newest`, the newest file is opened only if the folder has no new file. Raises
    `NothingNew` if there is no new file and neither option is set, and `SourceRefused` if there is no such file or
    folder.
    """
    try:
        chosen = await asyncio.to_thread(_choose, path, taken, reimport, leave_out, form)
    except NothingNew:
        if not or_newest:
            raise
        chosen = await asyncio.to_thread(_choose, path, taken, True, leave_out, form)
    try:
        with _opened(chosen, leave_out, form) as (file, source):
            yield await asyncio.to_thread(_fetched, file, source, chosen.name)
    except SourceRefused as error:
        if chosen == path or error.detail.startswith(chosen.name):
            raise
        raise SourceRefused(f"{chosen.name}: {error.detail}") from None  # a folder has many files


@asynccontextmanager
async def open_url(
    url: str,
    allowed: Allowed,
    progress: Progress,
    leave_out: Collection[str] = (),
    form: FileForm = ROSTER_ZIP,
) -> AsyncIterator[FetchedFile]:
    """Downloads a file and opens it. Raises `SourceRefused` with the reason."""
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        as_of = await _download(url, allowed, file, progress, form)
        try:
            opened = stack.enter_context(form.opened(file, leave_out))
        except zipfile.BadZipFile:
            raise SourceRefused("What the source sends is no zip that can be read.") from None
        source = await asyncio.to_thread(_fetched, file, opened, form.name)
        yield FetchedFile(source.deliveries, source.not_taken, source.warnings, source.taken, as_of)


async def _download(url: str, allowed: Allowed, file: IO[bytes], progress: Progress, form: FileForm) -> datetime:
    """Downloads the source's file to `file`, and returns the time of the response.

    The time is that of the source's clock, or of this machine's clock if the source sends no time.
    """
    began, done = now(), 0
    try:
        checked = validate_url(url, allowed)
        async with checked_session(allowed, 1.0) as web:
            async with web.get(
                checked, headers={"User-Agent": AGENT}, allow_redirects=False, timeout=TIMEOUT
            ) as response:
                if 300 <= response.status < 400:
                    raise SourceRefused(
                        f"The source redirects the {form.noun} to another address, which is not followed. Set its URL "
                        "to the new address."
                    )
                if response.status != 200:
                    raise SourceRefused(
                        f"The source answers {response.status} instead of the {form.noun}. Check its URL."
                    )
                total = response.content_length or 0
                async for chunk in response.content.iter_chunked(CHUNK):
                    done += len(chunk)
                    if done > MAX_ZIP_BYTES:
                        raise SourceRefused(
                            f"The source sends more than {MAX_ZIP_BYTES >> 30} GiB: no delivery is as large."
                        )
                    await asyncio.to_thread(file.write, chunk)
                    progress(f"downloading the {form.noun}", done, total)
                return _response_time(response.headers.get("Date")) or began
    except Invalid as error:
        details = " ".join(violation.detail for violation in error.violations)
        raise SourceRefused(f"The source's url cannot be used. {details}") from None
    except aiohttp.ClientConnectorDNSError:
        raise SourceRefused(f"The {form.noun} could not be fetched: the host name in its URL is not known.") from None
    except (AddressRefused, aiohttp.ClientError, TimeoutError, OSError) as error:
        if is_full(error):  # A full disk is not a fault of the source.
            raise
        raise SourceRefused(f"The {form.noun} could not be fetched: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Returns why a download failed and what can be done about it, as the end of a sentence after a colon."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes += [cause, *([cause.os_error] if isinstance(cause, aiohttp.ClientConnectorError) else [])]
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(cause, AddressRefused) for cause in causes):
        return (
            "its address is not on the public Internet. An operator may allow its network: AIMLINE_SIS_ALLOW_NETWORKS."
        )
    if any(isinstance(cause, ssl.SSLError | aiohttp.ClientConnectorCertificateError) for cause in causes):
        return "the certificate of its server is not trusted, and must be corrected there."
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "its server does not answer in time. Try again later."
    return f"its server cannot be reached, or breaks the connection ({type(error).__name__}). Try again later."


def _response_time(header: str | None) -> datetime | None:
    """Returns the time in a `Date` header, or None if the header is malformed.

    For a time in the future, returns the present time.
    """
    try:
        return min(parsedate_to_datetime(header).astimezone(UTC), now()) if header else None
    except (ValueError, OverflowError):
        return None


def _choose(path: Path, taken: Sequence[Taken], reimport: bool, leave_out: Collection[str], form: FileForm) -> Path:
    """Returns the file to import: the path itself if it is a file, otherwise one of the folder's files.

    In a folder, files that were imported before are skipped, and so are zips that are older than the newest imported
    zip. Of the others, the newest bulk delivery is chosen, or the oldest delta if there is no bulk delivery. A file of
    scores is chosen whatever its age, because files of scores do not replace each other. With `reimport`, no
    file is skipped, and the newest file is chosen.
    """
    if not path.is_dir():
        if not path.is_file():
            raise SourceRefused("There is no such file or folder on this machine.")
        if not reimport and _is_taken(path, taken):
            raise NothingNew(_nothing_new(path.name))
        return path
    files = [file for file in sorted(path.iterdir(), key=_changed) if _is_whole(file, form)]
    if reimport and files:
        return files[-1]
    times = [int(file["mtime"]) for file in taken]
    last = max(times, default=0)
    if form is SCORES_CSV:
        last = min(times) if len(times) >= REMEMBERED else 0  # older files than these may have been imported too
    fresh = [file for file in files if _changed(file) >= last and not _is_taken(file, taken)]
    if not fresh:
        raise NothingNew(_nothing_new(path.name) if files else f"There is no complete {form.noun} in the folder yet.")
    # A bulk delivery includes all older deltas; without one, the deltas are imported in their order.
    return next((file for file in reversed(fresh) if _is_bulk(file, leave_out, form)), fresh[0])


def _nothing_new(name: str) -> str:
    return f"There is nothing new in {name}: it was imported before. To import it again, request a full run."


def _changed(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0


def _is_whole(path: Path, form: FileForm) -> bool:
    """Returns whether a file is complete, so that it can be read.

    A file counts as incomplete if it is a link, has a name that marks it as temporary, or has changed in the last
    seconds.
    """
    is_named = path.suffix.lower() == form.suffix and not path.name.startswith((".", "~"))
    if not is_named or path.is_symlink() or not path.is_file():
        return False
    quiet = now().timestamp() - _changed(path) / 1e9
    return quiet >= QUIET_SECONDS and (form is not ROSTER_ZIP or zipfile.is_zipfile(path))


def _is_taken(path: Path, taken: Sequence[Taken]) -> bool:
    """Returns whether a file was imported before.

    It is recognized by its name, size and time, or else by its digest.
    """
    status = path.stat()
    if any(
        (file["name"], file["size"], file["mtime"]) == (path.name, status.st_size, status.st_mtime_ns) for file in taken
    ):
        return True
    same_size = [file for file in taken if file["size"] == status.st_size]
    if not same_size:
        return False
    with path.open("rb") as file:
        digest = _digest(file)
    return any(imported["digest"] == digest for imported in same_size)


def _is_bulk(path: Path, leave_out: Collection[str], form: FileForm) -> bool:
    """Returns whether a delivery is complete: whether each of its files has all rows, and not only changed rows.

    An unreadable zip counts as bulk too, so that it is chosen and then refused.
    """
    try:
        with _opened(path, leave_out, form) as (_, source):
            return all(each.complete for each in source.deliveries.values())
    except SourceRefused:
        return form is ROSTER_ZIP


@contextmanager
def _opened(path: Path, leave_out: Collection[str], form: FileForm) -> Iterator[tuple[IO[bytes], OpenedSource]]:
    """Opens a file, and yields it with the delivery in it.

    If somebody replaces the file meanwhile, the old contents are still read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceRefused(f"{path.name} cannot be opened: {os.strerror(error.errno or 0)}.") from None
    with file, ExitStack() as stack:
        try:
            source = stack.enter_context(form.opened(file, leave_out))
        except zipfile.BadZipFile:
            raise SourceRefused(f"{path.name} is not a zip that can be read.") from None
        yield file, source


def _fetched(file: IO[bytes], source: OpenedSource, name: str) -> FetchedFile:
    status = os.fstat(file.fileno())
    taken = {"name": name, "size": status.st_size, "mtime": status.st_mtime_ns, "digest": _digest(file)}
    as_of = datetime.fromtimestamp(status.st_mtime, UTC)
    return FetchedFile(source.deliveries, source.not_taken, source.warnings, taken, as_of)


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    hasher = hashlib.sha256()
    while chunk := file.read(CHUNK):
        hasher.update(chunk)
    return hasher.hexdigest()

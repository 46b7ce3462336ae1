"""Fetches a roster zip or a CSV file of scores from an https address, from a path, or from a folder.

A download has a size limit and goes to an unnamed temporary file. A file that is still being written is skipped. A file
that was imported before is imported again only if this is requested. Never checks the contents of a file.
"""

import asyncio
import hashlib
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from app.core.address import Allowed
from app.core.clock import now
from app.sis.oneroster_csv.archive import CsvZip
from app.sis.oneroster_csv.download import download
from app.sis.oneroster_csv.scores import ScoreFile
from app.sis.oneroster_csv.unzip import open_archive
from app.sis.port import Delivery, NothingNew, OpenedSource, Progress, SourceRefused

QUIET_SECONDS: Final = 20.0  # Seconds without a change after which a file counts as complete.
CHUNK: Final = 1 << 20
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
    * `most_bytes`: the largest download.
    * `opened`: opens such a file.
    """

    suffix: str
    noun: str
    name: str
    most_bytes: int
    opened: Callable[[IO[bytes], Collection[str]], AbstractContextManager[OpenedSource]]


ROSTER_ZIP: Final = FileForm(".zip", "zip", "roster.zip", 8 << 30, _opened_zip)
SCORES_CSV: Final = FileForm(".csv", "CSV file", "scores.csv", 1 << 30, _opened_scores)


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A fetched file that is open for reading, with the properties of `OpenedSource`.

    `taken` has the file's name, size, time and digest. With these, a later fetch recognizes the file. `as_of` is the
    time of the file's data.
    """

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
        as_of = await download(url, allowed, file, progress, form.noun, form.most_bytes)
        try:
            opened = stack.enter_context(form.opened(file, leave_out))
        except zipfile.BadZipFile:
            raise SourceRefused("What the source sends is no zip that can be read.") from None
        source = await asyncio.to_thread(_fetched, file, opened, form.name)
        yield FetchedFile(source.deliveries, source.not_taken, source.warnings, source.taken, as_of)


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
    """Opens a file, and yields the file with the delivery that it contains.

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

"""Owns how bytes come out of a zip that nobody trusts: no folders, no locks, no bombs. Knows nothing of OneRoster."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from app.sis.oneroster_csv.header import BOM
from app.sis.port import SourceRefused

CHUNK = 1 << 20
HEAD = 1 << 16  # bytes in which a header must end
UNPACKED_LIMIT = 16 << 30  # bytes of all files together
RATIO_LIMIT = 200  # unpacked to packed; rosters come to 5–40
MOST_ENTRIES = 200
DIRECTORY_LIMIT = 256 << 10  # bytes of the central directory: a thousand for each entry
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those of which `zipfile` unpacks no more at once than it is asked for; of the others a megabyte gives gigabytes."""
# zipfile raises NotImplementedError for a compression that it does not know, RuntimeError for an encrypted entry.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
MANY = "The zip holds far more files than OneRoster has: not opened."


class _BoundedFile:
    """A zip's file, of which no more is read at once than a small directory has, until it is opened.

    `zipfile` reads the end record first, and then as much as that says the directory has. It decides itself which end
    record it believes, so that this bound holds whatever the record says, and whichever of several is taken.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.is_open = False
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.is_open:
            return self._file.read(size)
        if size > DIRECTORY_LIMIT:
            raise SourceRefused(MANY)
        raw = self._file.read(size if size >= 0 else DIRECTORY_LIMIT + 1)
        if len(raw) > DIRECTORY_LIMIT:
            raise SourceRefused(MANY)
        return raw


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Opens a zip by its end record. Raises `BadZipFile` where it is none, `SourceRefused` where it holds too much."""
    guarded = _BoundedFile(file)
    try:
        archive = zipfile.ZipFile(guarded)
    except (NotImplementedError, OverflowError, ValueError, OSError, struct.error) as error:
        raise zipfile.BadZipFile(type(error).__name__) from None
    if len(archive.infolist()) > MOST_ENTRIES:
        raise SourceRefused(MANY)
    guarded.is_open = True
    return archive


def list_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by name. Refuses a zip that is locked, that slips out of its folder, or that swells."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if name.endswith("/") or name.startswith("__MACOSX/"):
            continue
        if entry.flag_bits & 0x1:
            raise SourceRefused("The zip is encrypted: send it without a password.")
        if entry.compress_type not in METHODS:
            raise SourceRefused("The zip is packed by a method other than deflate: pack it as zips mostly are.")
        if not name:
            raise SourceRefused("The zip holds a file without a name.")
        if "/" in name or "\\" in name:
            raise SourceRefused("The zip holds folders: OneRoster's files stand at its root.")
        if name in entries:
            raise SourceRefused("The zip holds the same file twice.")
        if entry.file_size > 10 << 20 and entry.file_size > RATIO_LIMIT * max(entry.compress_size, 1):
            raise SourceRefused("The zip swells beyond what a roster does when it is unpacked: not opened.")
        entries[name] = entry
    if sum(entry.file_size for entry in entries.values()) > UNPACKED_LIMIT:
        raise SourceRefused("The zip is too large when it is unpacked: not opened.")
    return entries


def stream(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int | None = None) -> Iterator[bytes]:
    """The bytes of a file without its byte order mark; with a limit, little more than that many."""
    given = 0
    try:
        with archive.open(entry) as file:
            chunk = file.read(CHUNK if limit is None else limit + 1).removeprefix(BOM)
            while chunk:
                yield chunk
                given += len(chunk)
                if limit is not None and given > limit:
                    return
                chunk = file.read(CHUNK)
    except BROKEN as error:
        raise SourceRefused(
            f"{entry.filename} cannot be read from the zip to its end ({type(error).__name__}): send it again."
        ) from None

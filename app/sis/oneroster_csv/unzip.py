"""Reads an untrusted zip safely: refuses folders, encryption and zip bombs. Independent of OneRoster."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from app.sis.oneroster_csv.header import BOM
from app.sis.port import SourceRefused

CHUNK = 1 << 20
HEAD = 1 << 16  # The bytes within which a header must end.
UNPACKED_LIMIT = 16 << 30  # The maximum number of bytes of all unpacked files together.
RATIO_LIMIT = 200  # The maximum ratio of unpacked to packed bytes; rosters have 5 to 40.
MAX_ENTRIES = 200
DIRECTORY_LIMIT = 256 << 10  # bytes of the central directory: about a thousand for each entry
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The compression methods for which `zipfile` unpacks no more bytes than requested.

With other methods, a megabyte may become gigabytes.
"""
# zipfile raises NotImplementedError for a compression that it does not know, RuntimeError for an encrypted entry.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
MANY = "The zip holds far more files than OneRoster has: not opened."


class _BoundedFile:
    """A file that contains a zip. It refuses large reads until the zip has been opened.

    This protects against a zip with a huge directory. `zipfile` first reads the end record of a zip, and then as many
    bytes as this record states for the directory. The limit is the size of a small zip's directory. It applies even if
    the record states a huge number of bytes, and if the zip has several end records, no matter which of them `zipfile`
    uses.
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
    """Opens a zip; raises `BadZipFile` if it is not a zip, and `SourceRefused` if it has too many files."""
    guarded = _BoundedFile(file)
    try:
        archive = zipfile.ZipFile(guarded)
    except (NotImplementedError, OverflowError, ValueError, OSError, struct.error) as error:
        raise zipfile.BadZipFile(type(error).__name__) from None
    if len(archive.infolist()) > MAX_ENTRIES:
        raise SourceRefused(MANY)
    guarded.is_open = True
    return archive


def list_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Returns the files of a zip, keyed by name.

    Raises `SourceRefused` for an encrypted zip, a zip with folders, or a zip bomb.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if name.endswith("/") or name.startswith("__MACOSX/"):
            continue
        if entry.flag_bits & 0x1:
            raise SourceRefused("The zip is encrypted: send it without a password.")
        if entry.compress_type not in METHODS:
            raise SourceRefused("The zip uses a compression other than deflate: pack it with deflate.")
        if not name:
            raise SourceRefused("The zip holds a file without a name.")
        if "/" in name or "\\" in name:
            raise SourceRefused("The zip contains folders: OneRoster's files belong at its root.")
        if name in entries:
            raise SourceRefused("The zip holds the same file twice.")
        if entry.file_size > 10 << 20 and entry.file_size > RATIO_LIMIT * max(entry.compress_size, 1):
            raise SourceRefused("The zip grows far more than a roster when it is unpacked: not opened.")
        entries[name] = entry
    if sum(entry.file_size for entry in entries.values()) > UNPACKED_LIMIT:
        raise SourceRefused("The zip is too large when it is unpacked: not opened.")
    return entries


def stream(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int | None = None) -> Iterator[bytes]:
    """Yields the bytes of a file in a zip, without the byte order mark.

    With a `limit`, reading stops soon after that many bytes.
    """
    yielded = 0
    try:
        with archive.open(entry) as file:
            chunk = file.read(CHUNK if limit is None else limit + 1).removeprefix(BOM)
            while chunk:
                yield chunk
                yielded += len(chunk)
                if limit is not None and yielded > limit:
                    return
                chunk = file.read(CHUNK)
    except BROKEN:
        raise SourceRefused(
            f"{entry.filename} cannot be read from the zip to its end. "
            "It is damaged, encrypted or compressed by an unusual method: make the zip again."
        ) from None

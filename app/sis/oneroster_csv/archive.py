"""Owns how a OneRoster 1.1 CSV zip is opened and what is refused in it. Holds no SQL and no policy.

Everything is judged by the header's names and the manifest; the rows themselves are never parsed here. Longer
than most, because each way in which a zip can lie has its own sentence.
"""

import csv
import io
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from app.sis.port import Delivery, SourceRefused

FILES: Final = {
    "orgs": "org",
    "academicSessions": "academic_session",
    "courses": "course",
    "classes": "class",
    "users": "person",
    "enrollments": "enrollment",
    "demographics": "demographics",
}
"""The files that are taken, in the order of their dependence, with the kind of each."""

_COMMON = "sourcedId,status,dateLastModified,"
COLUMNS: Final = {
    "orgs": _COMMON + "name,type,identifier,parentSourcedId",
    "academicSessions": _COMMON + "title,type,startDate,endDate,parentSourcedId,schoolYear",
    "courses": _COMMON + "schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
    "classes": _COMMON + "title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,"
    "termSourcedIds,subjects,subjectCodes,periods",
    "users": _COMMON + "enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password",
    "enrollments": _COMMON + "classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
    "demographics": _COMMON + "birthDate,sex,americanIndianOrAlaskaNative,asian,blackOrAfricanAmerican,"
    "nativeHawaiianOrOtherPacificIslander,white,demographicRaceTwoOrMoreRaces,hispanicOrLatinoEthnicity,"
    "countryOfBirthCode,stateOfBirthAbbreviation,cityOfBirth,publicSchoolResidenceStatus",
}
REQUIRED: Final = {
    "orgs": {"sourcedId", "name", "type"},
    "academicSessions": {"sourcedId", "title", "type", "startDate", "endDate"},
    "courses": {"sourcedId", "title", "orgSourcedId"},
    "classes": {"sourcedId", "title", "courseSourcedId", "classType", "schoolSourcedId", "termSourcedIds"},
    "users": {"sourcedId", "enabledUser", "orgSourcedIds", "role", "givenName", "familyName"},
    "enrollments": {"sourcedId", "classSourcedId", "schoolSourcedId", "userSourcedId", "role"},
    "demographics": {"sourcedId", "birthDate", "sex"},
}
MODES: Final = ("absent", "bulk", "delta")
CHUNK = 1 << 20
HEAD = 1 << 16  # bytes in which a header must end
MANIFEST_LIMIT = 1 << 16
UNPACKED_LIMIT = 16 << 30  # bytes of all files together
RATIO_LIMIT = 200  # unpacked to packed; rosters come to 5–40
BOM = b"\xef\xbb\xbf"
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class CsvZip:
    """An opened zip whose manifest and headers hold; its deliveries can be read while it is open."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._warnings: list[str] = []
        entries = _entries(archive)
        modes = self._manifest(entries)
        self.not_taken = self._left_out(entries, modes)
        self.deliveries: Mapping[str, Delivery] = {
            kind: self._delivery(entries[f"{name}.csv"], name, kind)
            for name, kind in FILES.items()
            if modes.get(name) == "bulk"
        }
        if not self.deliveries:
            raise SourceRefused("manifest.csv announces none of the roster's files, so there is nothing to sync.")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd and could be taken all the same."""
        return tuple(self._warnings)

    def _manifest(self, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
        """The mode of each file that the manifest names."""
        entry = entries.get("manifest.csv")
        if entry is None:
            raise SourceRefused(
                "manifest.csv is missing. A zip without it counts as OneRoster 1.0, which is not taken: "
                "export OneRoster 1.1 CSV, with its manifest."
            )
        if entry.file_size > MANIFEST_LIMIT:
            raise SourceRefused("manifest.csv is far too large for a manifest.")
        text = _decoded(b"".join(_stream(self._archive, entry)), "manifest.csv")
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except csv.Error:
            raise SourceRefused("manifest.csv is not well-formed CSV.") from None
        if not rows or [cell.strip() for cell in rows[0]] != ["propertyName", "value"]:
            raise SourceRefused("manifest.csv must begin with the header propertyName,value.")
        said = {row[0].strip(): row[1].strip() for row in rows[1:] if len(row) >= 2}
        version = said.get("oneroster.version", "")
        if version != "1.1":
            raise SourceRefused(
                f"manifest.csv must say oneroster.version 1.1; this zip says {_quoted(version)}. Export OneRoster 1.1."
            )
        modes = {key[5:]: value.lower() for key, value in said.items() if key.startswith("file.")}
        self._refuse_modes(modes, entries)
        return modes

    def _refuse_modes(self, modes: Mapping[str, str], entries: Mapping[str, zipfile.ZipInfo]) -> None:
        for name in FILES:
            mode = modes.get(name, "absent")
            if mode not in MODES:
                raise SourceRefused(f"manifest.csv says neither absent, bulk nor delta of {name}.csv.")
            if mode == "delta":
                raise SourceRefused(f"{name}.csv is a delta, which this version does not take: export it as bulk.")
            if mode == "bulk" and f"{name}.csv" not in entries:
                raise SourceRefused(f"manifest.csv announces {name}.csv, and the zip does not hold it.")

    def _left_out(self, entries: Mapping[str, zipfile.ZipInfo], modes: Mapping[str, str]) -> tuple[str, ...]:
        """Files that are there and are not taken; where the manifest does not announce one of ours, says so."""
        left = []
        for file in sorted(set(entries) - {"manifest.csv"}):
            name = file.removesuffix(".csv")
            if name not in FILES:
                left.append(file)
            elif modes.get(name) != "bulk":
                left.append(file)
                self._warnings.append(f"{file} is in the zip, but manifest.csv does not announce it: not taken.")
        return tuple(left)

    def _delivery(self, entry: zipfile.ZipInfo, name: str, kind: str) -> Delivery:
        file = entry.filename
        head = b"".join(_stream(self._archive, entry, HEAD))[: HEAD + 1]
        header = self._header(head, len(head) > HEAD or entry.file_size > HEAD, file)
        self._check_columns(header, name, file)
        return Delivery(
            kind=kind,
            file=file,
            complete=True,
            header=header,
            size=entry.file_size,
            read=partial(_stream, self._archive, entry),
        )

    def _header(self, head: bytes, more: bool, file: str) -> tuple[str, ...]:
        """The names of the columns. Refuses an empty file, one without rows, and one in another encoding."""
        if not head.strip(BOM + b"\r\n \t"):
            raise SourceRefused(f"{file} is empty. A file without rows must be announced as absent.")
        end = min((at for at in (head.find(b"\n"), head.find(b"\r")) if at >= 0), default=len(head))
        line = _decoded(head[:end], file)
        if not more and not head[end:].strip():
            raise SourceRefused(
                f"{file} has a header and no row. This is not read as “everyone is gone”: export it again."
            )
        try:
            header = tuple(next(csv.reader([line], strict=True)))
        except (csv.Error, StopIteration):
            raise SourceRefused(f"The header of {file} is not well-formed CSV.") from None
        return header

    def _check_columns(self, header: tuple[str, ...], name: str, file: str) -> None:
        for number, column in enumerate(header, start=1):
            if not column or not column.isascii() or not column.isprintable() or " " in column:
                hidden = ", ".join(sorted({_named(c) for c in column if not c.isascii() or not c.isprintable()}))
                raise SourceRefused(
                    f"The name of column {number} of {file} is empty or holds hidden or foreign characters"
                    f"{f' ({hidden})' if hidden else ''}: export it as UTF-8 with the header of OneRoster 1.1."
                )
        if len(set(header)) != len(header):
            raise SourceRefused(f"{file} names a column twice.")
        missing = sorted(REQUIRED[name] - set(header))
        if missing:
            raise SourceRefused(f"{file} lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}.")
        expected = COLUMNS[name].split(",")
        here = [column for column in header if column in expected]
        if here != [column for column in expected if column in here]:
            self._warnings.append(f"{file} has its columns in another order: read by their names.")
        lacking = [column for column in expected if column not in header]
        if lacking:
            self._warnings.append(f"{file} has no {', '.join(lacking)}: what is known of that stays.")
        unknown = [c for c in header if c not in expected and not c.startswith("metadata.")]
        if unknown:
            self._warnings.append(f"{file} has columns that OneRoster 1.1 does not know: not taken.")


@contextmanager
def open_zip(path: Path) -> Iterator[CsvZip]:
    """Opens a OneRoster 1.1 CSV zip. Raises `SourceRefused` with what is wrong and in which file."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise SourceRefused(f"There is no file {path.name}.") from None
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceRefused(f"{path.name} is not a zip that can be read ({type(error).__name__}).") from None
    with archive:
        yield CsvZip(archive)


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by name. Refuses a zip that is locked, that slips out of its folder, or that swells."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if entry.is_dir() or name.startswith("__MACOSX/"):
            continue
        if entry.flag_bits & 0x1:
            raise SourceRefused("The zip is encrypted: send it without a password.")
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


def _stream(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int | None = None) -> Iterator[bytes]:
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


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise SourceRefused(f"{file} is not UTF-8: export it as UTF-8.") from None


def _named(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}")


def _quoted(version: str) -> str:
    return version if version.replace(".", "").isdigit() and len(version) < 10 else "something else"

"""Owns how a OneRoster CSV zip, 1.1 or 1.2, is opened and what is refused in it. Holds no SQL and no policy.

Everything is judged by the header's names and the manifest; the rows themselves are never parsed here.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from app.sis.oneroster_csv.files import COMMON, FILES, VERSIONS, CsvFile
from app.sis.oneroster_csv.header import check_columns, decode_text, has_delta_values, read_header
from app.sis.oneroster_csv.unzip import HEAD, list_entries, open_archive, stream
from app.sis.port import Delivery, SourceRefused

MODES: Final = ("absent", "bulk", "delta")
SENT_MODES: Final = ("bulk", "delta")
DELTA_COLUMNS: Final = ("status", "dateLastModified")
MANIFEST_LIMIT = 1 << 16
COMPOSED: Final = {
    "roles": ("role", "orgSourcedIds"),
    "lineItemScoreScales": ("scoreScaleSourcedId",),
    "lineItemLearningObjectiveIds": ("learningObjectiveSet",),
    "resultScoreScales": ("scoreScaleSourcedId",),
    "resultLearningObjectiveIds": ("learningObjectiveSet",),
}
"""The columns that these files make for the kind to which they add."""


class ZipRefused(SourceRefused):
    """A zip of which one thing or several are wrong: a sentence each."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = tuple(sentences)


class CsvZip:
    """An opened zip whose manifest and headers hold; its deliveries can be read while it is open."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._warnings: list[str] = []
        entries = list_entries(archive)
        self.version, modes = self._manifest(entries)
        self._stated: list[str] = []
        self.not_taken = self._list_not_taken(entries, modes)
        came: dict[str, Delivery] = {}
        wrong: list[str] = []
        for name, file in FILES.items():
            if modes.get(name) in SENT_MODES and file.since <= self.version:
                try:
                    came[name] = self._delivery(entries[f"{name}.csv"], file, modes[name])
                except SourceRefused as error:
                    wrong.append(error.detail)
        if wrong:
            raise ZipRefused(wrong)
        if not came:
            raise SourceRefused("manifest.csv announces none of the roster's files, so there is nothing to sync.")
        if self._stated:
            self._warnings.append(
                f"{', '.join(self._stated)}: announced as bulk, with status or dateLastModified filled in. "
                "Taken as bulk: what is not there is gone."
            )
        self.deliveries: Mapping[str, Delivery] = self._with_supplements(came)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd and could be taken all the same."""
        return tuple(self._warnings)

    def _manifest(self, entries: Mapping[str, zipfile.ZipInfo]) -> tuple[str, dict[str, str]]:
        """The version, and the mode of each file that the manifest names."""
        entry = entries.get("manifest.csv")
        if entry is None:
            raise SourceRefused(
                "manifest.csv is missing. A zip without it counts as OneRoster 1.0, which is not taken: "
                "export OneRoster 1.1 or 1.2 CSV, with its manifest."
            )
        if entry.file_size > MANIFEST_LIMIT:
            raise SourceRefused("manifest.csv is far too large for a manifest.")
        text = decode_text(b"".join(stream(self._archive, entry)), "manifest.csv")
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except csv.Error:
            raise SourceRefused("manifest.csv is not well-formed CSV.") from None
        if not rows or [cell.strip() for cell in rows[0]] != ["propertyName", "value"]:
            raise SourceRefused("manifest.csv must begin with the header propertyName,value.")
        said = {row[0].strip(): row[1].strip() for row in rows[1:] if len(row) >= 2}
        version = said.get("oneroster.version", "")
        short = ".".join(version.split(".")[:2])
        if short not in VERSIONS or len(version) > 5:
            raise SourceRefused(
                f"manifest.csv must say oneroster.version 1.1 or 1.2; this zip says {_quoted(version)}. "
                "Export OneRoster 1.1 or 1.2."
            )
        modes = {key[5:]: value.lower() for key, value in said.items() if key.startswith("file.")}
        _refuse_modes(short, modes, entries)
        return short, modes

    def _list_not_taken(self, entries: Mapping[str, zipfile.ZipInfo], modes: Mapping[str, str]) -> tuple[str, ...]:
        """Files that are there and are not taken; where the manifest does not announce one of ours, says so."""
        left = []
        for file in sorted(set(entries) - {"manifest.csv"}):
            name = file.removesuffix(".csv")
            if name not in FILES or FILES[name].since > self.version:
                left.append(file)
            elif modes.get(name) not in SENT_MODES:
                left.append(file)
                self._warnings.append(f"{file} is in the zip, but manifest.csv does not announce it: not taken.")
        return tuple(left)

    def _delivery(self, entry: zipfile.ZipInfo, file: CsvFile, mode: str) -> Delivery:
        head = b"".join(stream(self._archive, entry, HEAD))[: HEAD + 1]
        more = len(head) > HEAD or entry.file_size > HEAD
        header = read_header(head, more, entry.filename, mode)
        self._warnings += check_columns(header, file, self.version, mode)
        if mode == "bulk" and has_delta_values(head, header, entry.filename):
            self._stated.append(entry.filename)
        return Delivery(
            kind=file.supplement or file.kind,
            file=entry.filename,
            complete=mode == "bulk",
            header=header,
            size=entry.file_size,
            read=partial(stream, self._archive, entry),
            required_columns=DELTA_COLUMNS if mode == "delta" else (),
        )

    def _with_supplements(self, came: Mapping[str, Delivery]) -> dict[str, Delivery]:
        """The deliveries by kind: roles, scales and objectives with the kind whose rows they add to."""
        kinds: dict[str, Delivery] = {}
        asides: dict[str, list[tuple[str, Delivery]]] = {}
        for name, delivery in came.items():
            if name in COMPOSED:
                asides.setdefault("person" if name == "roles" else FILES[name].kind, []).append((name, delivery))
            if not FILES[name].supplement:
                kinds[FILES[name].kind] = delivery
        people = kinds.get("person")
        if self.version == "1.2" and people and "role" not in people.header and "person" not in asides:
            if people.complete:
                raise SourceRefused("users.csv is bulk, and no roles.csv says what the people are: send it as well.")
            kinds["person"] = _add_supplements(people, ("role", "orgSourcedIds"), [])
        for kind, found in asides.items():
            made = tuple(column for name, _ in found for column in COMPOSED[name])
            bulk = next((delivery.file for _, delivery in found if delivery.complete), None)
            if kind not in kinds and bulk:
                raise SourceRefused(
                    f"{bulk} is bulk, and the file to whose rows it adds did not come: send it as well."
                )
            base = kinds.get(kind) or _empty_delta(kind, found[0][1].file)
            kinds[kind] = _add_supplements(base, made, [delivery for _, delivery in found])
        order = list(dict.fromkeys(file.kind for file in FILES.values()))
        return {kind: kinds[kind] for kind in order if kind in kinds}


def _add_supplements(base: Delivery, made: tuple[str, ...], asides: list[Delivery]) -> Delivery:
    if set(made) & set(base.header):
        raise SourceRefused(f"{base.file} and {asides[0].file} both say {', '.join(made)}: one of them must be absent.")
    size = base.size + sum(aside.size for aside in asides)
    return Delivery(
        kind=base.kind,
        file=base.file,
        complete=base.complete,
        header=(*base.header, *made),
        size=size,
        read=base.read,
        required_columns=base.required_columns,
        composed=made,
        supplements=tuple(asides),
    )


def _empty_delta(kind: str, file: str) -> Delivery:
    """A delta of a kind of which only an aside speaks: no row of its own."""
    line = f"{','.join(COMMON)}\r\n".encode()
    return Delivery(kind, file, False, COMMON, len(line), lambda: iter((line,)))


def _refuse_modes(version: str, modes: Mapping[str, str], entries: Mapping[str, zipfile.ZipInfo]) -> None:
    wrong: list[str] = []
    for name, file in FILES.items():
        mode = modes.get(name, "absent")
        if file.since > version:
            continue
        if mode not in MODES:
            wrong.append(f"manifest.csv says neither absent, bulk nor delta of {name}.csv.")
        if mode in SENT_MODES and f"{name}.csv" not in entries:
            wrong.append(f"manifest.csv announces {name}.csv, and the zip does not hold it.")
    if wrong:
        raise ZipRefused(wrong)


def _quoted(version: str) -> str:
    return version if version.replace(".", "").isdigit() and len(version) < 10 else "something else"


@contextmanager
def open_zip(path: Path) -> Iterator[CsvZip]:
    """Opens a OneRoster CSV zip. Raises `SourceRefused` with what is wrong and in which file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise SourceRefused(f"There is no file {path.name}.") from None
    except OSError as error:
        raise SourceRefused(f"{path.name} is not a zip that can be read ({type(error).__name__}).") from None
    with file:
        try:
            archive = open_archive(file)
        except zipfile.BadZipFile:
            raise SourceRefused(f"{path.name} is not a zip that can be read.") from None
        with archive:
            yield CsvZip(archive)

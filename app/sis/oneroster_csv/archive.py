"""Opens and validates a OneRoster CSV zip, 1.1 or 1.2. Contains no SQL and decides nothing about the roster.

It checks the manifest and the names in the headers. It does not parse the rows.
"""

import csv
import io
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from app.sis.oneroster_csv.files import COMMON, FILES, VERSIONS, CsvFile
from app.sis.oneroster_csv.header import (
    DELIMITERS,
    check_columns,
    decode_text,
    has_delta_values,
    name_columns,
    read_header,
    standard_columns,
)
from app.sis.oneroster_csv.unzip import HEAD, list_entries, open_archive, stream
from app.sis.port import Delivery, SourceRefused, leave_out_hint

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
"""The columns that each supplementary file adds to the rows of another kind, keyed by the name of the file."""


class ZipRefused(SourceRefused):
    """Raised for a zip with errors. Each error is a sentence."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = tuple(sentences)


class CsvZip:
    """An open zip with a valid manifest and valid headers. Its deliveries can be read as long as it is open."""

    def __init__(self, archive: zipfile.ZipFile, leave_out: Collection[str] = ()) -> None:
        self._archive = archive
        self._warnings: list[str] = []
        kinds = {FILES[name].kind for name in leave_out if name in FILES}
        self._left_out = {name for name, file in FILES.items() if file.kind in kinds}
        entries = self._standard_names(list_entries(archive))
        self.version, modes = self._manifest(entries)
        self._bulk_with_deltas: list[str] = []
        self.not_taken = self._list_not_taken(entries, modes)
        deliveries: dict[str, Delivery] = {}
        errors: list[str] = []
        for name, file in FILES.items():
            if modes.get(name) in SENT_MODES and file.since <= self.version:
                try:
                    deliveries[name] = self._delivery(entries[f"{name}.csv"], file, modes[name])
                except SourceRefused as error:
                    errors.append(error.detail + leave_out_hint(f"{name}.csv"))
        if errors:
            raise ZipRefused(errors)
        if not deliveries and not self._announced_left_out:
            raise SourceRefused("manifest.csv announces none of the roster's files, so there is nothing to sync.")
        if self._bulk_with_deltas:
            self._warnings.append(
                f"{', '.join(self._bulk_with_deltas)}: announced as bulk, with status or dateLastModified filled in. "
                "Read as bulk: rows that are missing are removed."
            )
        self.deliveries: Mapping[str, Delivery] = self._with_supplements(deliveries)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Returns sentences about irregularities that did not prevent the import."""
        return tuple(self._warnings)

    def _standard_names(self, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """Returns the files, keyed by their standard OneRoster names.

        Adds a warning for each file whose name differs from the standard name in upper and lower case.
        """
        standard = {f"{name}.csv".lower(): f"{name}.csv" for name in ("manifest", *FILES)}
        renamed: dict[str, zipfile.ZipInfo] = {}
        for file, entry in entries.items():
            name = standard.get(file.lower(), file)
            if name in renamed:
                raise SourceRefused(f"The zip holds {name} twice, in different case.")
            if name != file:
                self._warnings.append(f"{file} is named in another case: read as {name}.")
            renamed[name] = entry
        return renamed

    def _manifest(self, entries: Mapping[str, zipfile.ZipInfo]) -> tuple[str, dict[str, str]]:
        """Reads the manifest. Returns the OneRoster version, and the mode of each file that the manifest names."""
        entry = entries.get("manifest.csv")
        if entry is None:
            if any(name.lower().endswith(".zip") for name in entries):
                raise SourceRefused("The zip holds another zip, and no manifest.csv: send the zip that is in it.")
            raise SourceRefused(
                "manifest.csv is missing. A zip without it counts as OneRoster 1.0, which is not supported: "
                "export OneRoster 1.1 or 1.2 CSV, with its manifest."
            )
        if entry.file_size > MANIFEST_LIMIT:
            raise SourceRefused("manifest.csv is far too large for a manifest.")
        text = decode_text(b"".join(stream(self._archive, entry)), "manifest.csv")
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except csv.Error:
            raise SourceRefused("manifest.csv is not well-formed CSV.") from None
        heading = [cell.strip().lower() for cell in rows[0]] if rows else []
        for delimiter, called in DELIMITERS.items():
            if len(heading) == 1 and delimiter in heading[0]:
                raise SourceRefused(f"manifest.csv is separated by {called} and not by commas: export it with commas.")
        if heading[:2] != ["propertyname", "value"] or any(heading[2:]):
            raise SourceRefused("manifest.csv must begin with the header propertyName,value.")
        properties = _read_properties(rows[1:])
        version = properties.get("oneroster.version", "")
        short = ".".join(version.split(".")[:2])
        if short not in VERSIONS or len(version) > 5:
            raise SourceRefused(
                f"manifest.csv must say oneroster.version 1.1 or 1.2; this zip says {_printable_version(version)}. "
                "Export OneRoster 1.1 or 1.2."
            )
        modes = {name: properties.get(f"file.{name.lower()}", "absent").lower() for name in FILES}
        modes = {name: mode or "absent" if f"{name}.csv" not in entries else mode for name, mode in modes.items()}
        self._announced_left_out = any(modes[name] in SENT_MODES for name in self._left_out)
        modes |= dict.fromkeys(self._left_out, "absent")
        _refuse_modes(short, modes, entries)
        return short, modes

    def _list_not_taken(self, entries: Mapping[str, zipfile.ZipInfo], modes: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the names of the files in the zip that are not imported.

        Files that the caller asked to leave out are not among them. Adds a warning for each file that could be
        imported, but that the manifest does not announce.
        """
        not_taken = []
        for file in sorted(set(entries) - {"manifest.csv"}):
            name = file.removesuffix(".csv")
            if name not in FILES or FILES[name].since > self.version:
                not_taken.append(file)
            elif name in self._left_out:
                continue
            elif modes.get(name) not in SENT_MODES:
                not_taken.append(file)
                self._warnings.append(f"{file} is in the zip, but manifest.csv does not announce it: not imported.")
        return tuple(not_taken)

    def _delivery(self, entry: zipfile.ZipInfo, file: CsvFile, mode: str) -> Delivery:
        head = b"".join(stream(self._archive, entry, HEAD))[: HEAD + 1]
        more = len(head) > HEAD or entry.file_size > HEAD
        name = f"{file.name}.csv"
        named, nameless, notes = name_columns(read_header(head, more, name, mode), name)
        header, warnings = standard_columns(named, file)
        self._warnings += [*notes, *warnings, *check_columns(header, file, self.version, mode)]
        if mode == "bulk" and has_delta_values(head, header, name):
            self._bulk_with_deltas.append(name)
        return Delivery(
            kind=file.supplement or file.kind,
            file=name,
            complete=mode == "bulk",
            header=header,
            size=entry.file_size,
            read=partial(stream, self._archive, entry),
            required_columns=DELTA_COLUMNS if mode == "delta" else (),
            nameless=nameless,
            has_empty_rows=True,
        )

    def _with_supplements(self, deliveries: Mapping[str, Delivery]) -> dict[str, Delivery]:
        """Returns the deliveries, keyed by kind of record.

        A supplementary file becomes a part of the delivery that it adds to. Roles are added to the people. Score scales
        and learning objectives are added to the line items or results that they describe.
        """
        kinds: dict[str, Delivery] = {}
        supplements: dict[str, list[tuple[str, Delivery]]] = {}
        for name, delivery in deliveries.items():
            if name in COMPOSED:
                supplements.setdefault("person" if name == "roles" else FILES[name].kind, []).append((name, delivery))
            if not FILES[name].supplement:
                kinds[FILES[name].kind] = delivery
        people = kinds.get("person")
        if self.version == "1.2" and people and "role" not in people.header and "person" not in supplements:
            if people.complete:
                raise SourceRefused("users.csv is bulk, and no roles.csv says what the people are: send it as well.")
            kinds["person"] = _add_supplements(people, ("role", "orgSourcedIds"), [])
        for kind, files in supplements.items():
            composed = tuple(column for name, _ in files for column in COMPOSED[name])
            bulk = next((delivery.file for _, delivery in files if delivery.complete), None)
            if kind not in kinds and bulk:
                raise SourceRefused(
                    f"{bulk} is bulk, and the file to whose rows it adds did not come: send it as well."
                )
            base = kinds.get(kind) or _empty_delta(kind, files[0][1].file)
            kinds[kind] = _add_supplements(base, composed, [delivery for _, delivery in files])
        order = list(dict.fromkeys(file.kind for file in FILES.values()))
        return {kind: kinds[kind] for kind in order if kind in kinds}


def _add_supplements(base: Delivery, composed: tuple[str, ...], supplements: list[Delivery]) -> Delivery:
    if set(composed) & set(base.header):
        columns = ", ".join(composed)
        raise SourceRefused(f"{base.file} and {supplements[0].file} both have {columns}: one of them must be absent.")
    size = base.size + sum(supplement.size for supplement in supplements)
    return Delivery(
        kind=base.kind,
        file=base.file,
        complete=base.complete,
        header=(*base.header, *composed),
        size=size,
        read=base.read,
        required_columns=base.required_columns,
        composed=composed,
        nameless=base.nameless,
        has_empty_rows=base.has_empty_rows,
        supplements=tuple(supplements),
    )


def _empty_delta(kind: str, file: str) -> Delivery:
    """Returns a delta of one kind of record, without rows.

    It is for a zip that has a supplementary file of this kind, but no file with the records themselves.
    """
    line = f"{','.join(COMMON)}\r\n".encode()
    return Delivery(kind, file, False, COMMON, len(line), lambda: iter((line,)))


def _refuse_modes(version: str, modes: Mapping[str, str], entries: Mapping[str, zipfile.ZipInfo]) -> None:
    errors: list[str] = []
    for name, file in FILES.items():
        mode = modes.get(name, "absent")
        if file.since > version:
            continue
        if mode not in MODES:
            errors.append(f"manifest.csv says neither absent, bulk nor delta of {name}.csv.")
        if mode in SENT_MODES and f"{name}.csv" not in entries:
            hint = leave_out_hint(f"{name}.csv")
            errors.append(f"manifest.csv announces {name}.csv, and the zip does not hold it.{hint}")
    if errors:
        raise ZipRefused(errors)


def _read_properties(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Returns the values of the manifest's properties, keyed by name.

    The names are in lower case, and a `.csv` at the end of a name is removed.

    Raises `SourceRefused` if the manifest has a known property twice, with different values.
    """
    properties: dict[str, str] = {}
    property_names = {"oneroster.version", *(f"file.{name.lower()}" for name in FILES)}
    for row in rows:
        name = row[0].strip().lower().removesuffix(".csv")
        value = row[1].strip() if len(row) > 1 else ""
        if name in property_names and properties.get(name, value).lower() != value.lower():
            raise SourceRefused(f"manifest.csv names {name} twice, with different values: export it again.")
        properties[name] = value
    return properties


def _printable_version(version: str) -> str:
    return version if version.replace(".", "").isdigit() and len(version) < 10 else "something else"


@contextmanager
def open_zip(path: Path, leave_out: Collection[str] = ()) -> Iterator[CsvZip]:
    """Opens a OneRoster CSV zip. Raises `SourceRefused` with the errors, each with its file."""
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
            yield CsvZip(archive, leave_out)

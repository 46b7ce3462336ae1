"""Opens and validates a CSV file of scores, from a screening window or a vendor. Never parses a row.

OneRoster does not define such a file. The file is read like OneRoster's CSV files, by the names of its columns, and its
rows are staged, checked and planned in the same way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from app.core.plural import pluralize
from app.sis.kinds import SCORE
from app.sis.oneroster_csv.header import BOM, MAX_COLUMNS, name_columns, read_header
from app.sis.oneroster_csv.unzip import CHUNK, HEAD
from app.sis.port import Delivery, SourceRefused

FILE: Final = "scores.csv"
"""The name that reports give to the file, even if the file was sent under another name."""
STUDENT, EXTERNAL_ID, SOURCED_ID = "studentSourcedId", "externalId", "sourcedId"
REQUIRED: Final = (STUDENT, "measure", "date", "value")
OPTIONAL: Final = ("attempt", "form", "purpose", EXTERNAL_ID, "status")


class ScoreFile:
    """An open CSV file of scores with a valid header, as an `OpenedSource`.

    In the header, the column that identifies a row is renamed `sourcedId`. It is the column externalId, or the column
    of the student if the file has no externalId. A delivery of scores is never complete, so a score that is missing
    from the file is not removed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._warnings: list[str] = []
        size = file.seek(0, 2)
        if not size:
            raise SourceRefused(f"{FILE} is empty: it has not even a header. Send it again.")
        file.seek(0)
        head = file.read(HEAD)
        named, nameless, notes = name_columns(read_header(head, size > len(head), FILE, "delta"), FILE)
        self._warnings += notes
        header = self._standard_header(named)
        key = EXTERNAL_ID if EXTERNAL_ID in header else STUDENT
        columns = tuple(SOURCED_ID if column == key else column for column in header)
        owner = STUDENT if key == EXTERNAL_ID else ""
        self.deliveries: Mapping[str, Delivery] = {
            SCORE.name: Delivery(
                *(SCORE.name, FILE, False, columns, size, self._read),
                owner=owner,
                nameless=nameless,
                has_empty_rows=True,
            )
        }

    @property
    def not_taken(self) -> tuple[str, ...]:
        """Returns an empty tuple, because the delivery is a single file, which is imported."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Returns sentences about irregularities that did not prevent the import."""
        return tuple(self._warnings)

    def _read(self) -> Iterator[bytes]:
        self._file.seek(0)
        chunk = self._file.read(CHUNK).removeprefix(BOM)
        while chunk:
            yield chunk
            chunk = self._file.read(CHUNK)

    def _standard_header(self, header: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the names of the columns with their standard upper and lower case.

        Raises `SourceRefused` for a repeated or missing name.
        """
        standard = {column.lower(): column for column in (*REQUIRED, *OPTIONAL)}
        columns = tuple(standard.get(column.strip().lower(), column.strip()) for column in header)
        if len(columns) > MAX_COLUMNS:
            raise SourceRefused(f"{FILE} has {len(columns):,} columns: export it again.")
        if repeated := sorted(
            {column for column in columns if column in standard.values() and columns.count(column) > 1}
        ):
            raise SourceRefused(f"{FILE} names the column {repeated[0]} twice.")
        if missing := [column for column in REQUIRED if column not in columns]:
            raise SourceRefused(
                f"{FILE} lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}. Its columns are "
                f"{', '.join((*REQUIRED, *OPTIONAL))}; the first {len(REQUIRED)} are required."
            )
        if renamed := [
            new for old, new in zip(header, columns, strict=True) if old != new and new in standard.values()
        ]:
            self._warnings.append(f"{FILE} has {', '.join(renamed)} in another case or with blanks: read as these.")
        unknown = [column for column in columns if column not in standard.values() and not column.startswith("(")]
        if unknown:
            others = pluralize(len(unknown), "other column", "other columns")
            self._warnings.append(f"{FILE} has {others}: not imported.")
        return tuple(column if column in standard.values() else f"other{n}" for n, column in enumerate(columns))


@contextmanager
def open_scores(path: Path) -> Iterator[ScoreFile]:
    """Opens a CSV file of scores. Raises `SourceRefused` with the reason."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise SourceRefused(f"There is no file {path.name}.") from None
    except OSError as error:
        raise SourceRefused(f"{path.name} cannot be read ({type(error).__name__}).") from None
    with file:
        yield ScoreFile(file)

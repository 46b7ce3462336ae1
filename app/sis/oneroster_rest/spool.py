"""Stores the rows of a collection on disk: the rows as CSV in an unnamed file, and their digests in another file.

The files are readable by this process only (0600), and disappear when it ends. Only one page of rows is in memory at a
time. When the collection is complete, the digests are read into memory, a part of them at a time.
"""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Final

import numpy as np

from app.sis.oneroster_rest.translate import Cells
from app.sis.port import Delivery, SourceRefused

CHUNK: Final = 1 << 20
PART: Final = 4_000_000  # The number of rows whose digests are compared at once.
WIDTH: Final = 3  # The numbers that are stored for each row: the digests of its id and its values, and its place.
_ID: Final = itemgetter(0)
_REST: Final = itemgetter(slice(2, None))


@dataclass(frozen=True, slots=True)
class Repeats:
    """What is known about rows of a collection that came more than once.

    The place of a row is its offset in the collection.

    * `repeated`: the numbers of the rows that are identical to an earlier row.
    * `differ`: whether any two rows have the same id but different values.
    * `scattered`: whether other rows were delivered between two rows with the same id. The pages may then have no fixed
      order, and rows may be missing.
    * `distinct`: the number of distinct ids.
    * `digest`: a digest of the distinct ids. It does not depend on the order of the rows.
    * `differing`: a digest of the rows that have the same id but different values. It does not depend on the order of
      the rows.
    * `placed`: the number of rows; a row that was delivered twice for the same place counts once.
    * `order`: a digest of all ids and values with their places. If it is the same when the source is read again, the
      source has not changed.
    """

    repeated: tuple[int, ...]
    differ: bool
    scattered: bool
    distinct: int
    digest: int
    differing: int
    placed: int
    order: int


NAMELESS = hash("")


class DiskBudget:
    """The disk space that all collections of one source together may use while it is read."""

    def __init__(self, gb: float) -> None:
        self._gb = gb
        self.left = int(gb * (1 << 30))

    def reserve(self, size: int) -> None:
        """Reserves `size` bytes; a negative `size` releases bytes. Raises `SourceRefused` if the budget is exceeded."""
        self.left -= size
        if self.left < 0 < size:
            raise SourceRefused(
                f"The source has sent over {self._gb:g} GB and has not ended: ask its vendor whether its collections "
                "end. If the district is as large, raise the source's pull-gb."
            )


class Spool:
    """The rows of one kind of record, stored in temporary files."""

    def __init__(self, kind: str, file: str, header: Cells, budget: DiskBudget) -> None:
        self.kind, self.file, self.header, self._budget = kind, file, header, budget
        self.rows = self._taken = self.end = 0
        self._digests = self._opened()
        self._csv = self._opened()
        self._size = 0
        self._write([header])

    def add(self, rows: Iterable[Cells], start: int | None = None) -> None:
        """Writes rows, and two digests for each row: one of its id, and one of its other values.

        The time of the last change is left out.

        `start` is the place of the first of these rows in the collection. Without `start`, these rows follow the rows
        that were written before.
        """
        batch = list(rows)
        self._write(batch)
        start = self.rows if start is None else start
        self.end = max(self.end, start + len(batch))
        digests = np.empty((len(batch), WIDTH), dtype=np.int64)
        digests[:, 2] = np.arange(start, start + len(batch))
        digests[:, 0] = np.fromiter(map(hash, map(_ID, batch)), np.int64, len(batch))
        # Rows without a sourcedId do not count as repeats of each other; the sync quarantines each of them.
        nameless = np.flatnonzero(digests[:, 0] == NAMELESS)
        digests[nameless, 0] = -1 - self.rows - nameless
        digests[:, 1] = np.fromiter(map(hash, map(_REST, batch)), np.int64, len(batch))
        self._take(digests.nbytes)
        self._digests.write(digests.tobytes())
        self.rows += len(batch)

    def repeats(self) -> Repeats:
        """Returns what is known about rows that were delivered more than once."""
        self._digests.flush()
        parts = self.rows // PART + 1
        repeated: list[int] = []
        differ, scattered, distinct, digest, differing, placed, order = False, False, 0, 0, 0, 0, 0
        for part in range(parts):
            numbers, ids, contents, places = self._part(part, parts)
            by_content = np.lexsort((numbers, contents, ids))
            repeated += numbers[by_content][_repeated(ids[by_content], contents[by_content])].tolist()
            by_place = np.lexsort((contents, places, ids))
            ids, contents, places = ids[by_place], contents[by_place], places[by_place]
            once = ~_repeated(ids, contents, places)  # a row that was requested twice at its place is one row
            ids, contents, places = ids[once], contents[once], places[once]
            same = _repeated(ids)
            if same.any():
                scattered = scattered or bool((np.diff(places, prepend=0)[same] > 1).any())
                groups = np.cumsum(~same)
                first = contents[~same][groups - 1]
                mixed = np.isin(groups, groups[contents != first])
                differ = differ or bool(mixed.any())
                differing = (differing + _digest(ids[mixed], contents[mixed])) % (1 << 64)
            distinct += int((~same).sum())
            digest ^= int(np.bitwise_xor.reduce(ids[~same])) if len(ids) else 0
            placed += len(ids)
            order = (order + _digest(ids, contents, places)) % (1 << 64)
        return Repeats(tuple(sorted(repeated)), differ, scattered, distinct, digest, differing, placed, order)

    def _part(self, part: int, parts: int) -> "list[np.ndarray]":
        """Divides the rows into `parts` parts by their ids, and returns the part with the number `part`.

        It is returned as four arrays of equal length: the numbers of the rows, the digests of their ids, the digests of
        their values, and their places in the collection.
        """
        blocks = []
        for start in range(0, self.rows, PART):
            count = min(PART, self.rows - start)
            raw = os.pread(self._digests.fileno(), 8 * WIDTH * count, 8 * WIDTH * start)
            block = np.frombuffer(raw, dtype=np.int64).reshape(-1, WIDTH)
            chosen = np.flatnonzero(block[:, 0].astype(np.uint64) % parts == part) if parts > 1 else slice(None)
            numbers = np.arange(start, start + count)[chosen]
            blocks.append((numbers, *(block[chosen, column] for column in range(WIDTH))))
        if not blocks:
            return [np.zeros(0, dtype=np.int64)] * (1 + WIDTH)
        return [np.concatenate(column) for column in zip(*blocks, strict=True)]

    def remove(self, repeated: Iterable[int]) -> None:
        """Removes the rows with the numbers `repeated`, each of which is identical to an earlier row."""
        left_out, old, size = set(repeated), self._csv, self._size
        self._csv, self._size = self._opened(), 0
        old.seek(0)
        with io.TextIOWrapper(old, encoding="utf-8", newline="") as lines:
            batch: list[Cells] = []
            for number, cells in enumerate(csv.reader(lines), start=-1):
                if number not in left_out:
                    batch.append(tuple(cells))
                if len(batch) >= 1000:
                    self._write(batch)
                    batch.clear()
            self._write(batch)
        self._take(-size)
        self.rows -= len(left_out)

    def delivery(self, *, complete: bool, within: str = "") -> Delivery:
        """Returns the rows as a delivery, which can be read until `close` is called.

        `complete` says whether these are all rows of the collection. If the rows came inside rows of another kind, as
        roles come inside people, `within` is that kind of record.
        """
        self._csv.flush()
        self._digests.close()
        return Delivery(
            kind=self.kind,
            file=self.file,
            complete=complete,
            header=self.header,
            size=self._size,
            read=self._read,
            within=within,
        )

    def close(self) -> None:
        """Deletes the rows and releases their disk space."""
        self._digests.close()
        self._csv.close()
        self._take(-self._taken)

    @staticmethod
    def _opened() -> IO[bytes]:
        return tempfile.TemporaryFile()  # the file never has a name, and has the mode 0600

    def _write(self, rows: Sequence[Cells]) -> None:
        # UTF-8 cannot encode a lone surrogate. A NUL is replaced and reported by the sync, as in a CSV file.
        written = _lines(rows).encode("utf-8", "replace")
        self._take(len(written))
        self._size += self._csv.write(written)

    def _take(self, size: int) -> None:
        self._taken += size
        self._budget.reserve(size)

    def _read(self) -> Iterator[bytes]:
        at = 0
        while chunk := os.pread(self._csv.fileno(), CHUNK, at):
            yield chunk
            at += len(chunk)


def _repeated(*columns: "np.ndarray") -> "np.ndarray":
    """Returns, for each row, whether it equals the row before it. The columns must be sorted."""
    same = np.ones(len(columns[0]), dtype=bool)
    same[:1] = False
    for column in columns:
        same[1:] &= column[1:] == column[:-1]
    return same


def _digest(*columns: "np.ndarray") -> int:
    """Returns a digest of the rows of a table. The digest does not depend on the order of the rows."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return int(mixed.sum(dtype=np.uint64))


def _lines(rows: Sequence[Cells]) -> str:
    """Returns rows as CSV.

    If the numbers of commas and lines show that no cell needs quotes, the rows are joined directly, which is faster
    than the CSV writer.
    """
    plain = "\n".join([*map(",".join, rows), ""])
    commas = sum(map(len, rows)) - len(rows)
    if '"' not in plain and "\r" not in plain and (plain.count(","), plain.count("\n")) == (commas, len(rows)):
        return plain
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()

"""Stores a collection's rows temporarily: CSV in an unnamed file, and digests of the rows in another.

The files are readable by this process only (0600) and disappear with it. Memory contains one page of rows and, when the
collection is complete, sixteen bytes for each row, in parts.
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
PART: Final = 4_000_000  # rows whose digests are compared at once
_ID: Final = itemgetter(0)
_REST: Final = itemgetter(slice(2, None))


@dataclass(frozen=True, slots=True)
class Repeats:
    """The repeated rows of a collection.

    `again` has the numbers of identical repeats, and `differ` is true if rows with the same id differ. `scattered` is
    true if a repeat does not directly follow its original, which means that the pages have no fixed order and rows may
    be missing. `distinct` is the number of distinct ids, and `digest` a digest of them that does not depend on their
    order.
    """

    again: tuple[int, ...]
    differ: bool
    scattered: bool
    distinct: int
    digest: int


NAMELESS = hash("")


class DiskBudget:
    """The disk space that all collections of one pull may use together."""

    def __init__(self, gb: float) -> None:
        self._gb = gb
        self.left = int(gb * (1 << 30))

    def reserve(self, size: int) -> None:
        """Reserves this many bytes, or releases them if negative; raises `SourceRefused` if the budget is exceeded."""
        self.left -= size
        if self.left < 0 < size:
            raise SourceRefused(
                f"The source has sent over {self._gb:g} GB and has not ended: ask its vendor whether its collections "
                "end. If the district is as large, raise the source's pull-gb."
            )


class Spool:
    """The rows of one kind in temporary files."""

    def __init__(self, kind: str, file: str, header: Cells, budget: DiskBudget) -> None:
        self.kind, self.file, self.header, self._budget = kind, file, header, budget
        self.rows = self._taken = 0
        self._digests = self._opened()
        self._csv = self._opened()
        self._size = 0
        self._write([header])

    def add(self, rows: Iterable[Cells]) -> None:
        """Writes rows, with digests of their ids and of their values except for the time of the change."""
        batch = list(rows)
        self._write(batch)
        digests = np.empty((len(batch), 2), dtype=np.int64)
        digests[:, 0] = np.fromiter(map(hash, map(_ID, batch)), np.int64, len(batch))
        # Rows without a sourcedId do not count as repeats of each other; the sync quarantines each of them.
        nameless = np.flatnonzero(digests[:, 0] == NAMELESS)
        digests[nameless, 0] = -1 - self.rows - nameless
        digests[:, 1] = np.fromiter(map(hash, map(_REST, batch)), np.int64, len(batch))
        self._take(digests.nbytes)
        self._digests.write(digests.tobytes())
        self.rows += len(batch)

    def repeats(self) -> Repeats:
        """Returns the rows that were delivered more than once."""
        self._digests.flush()
        parts = self.rows // PART + 1
        again: list[int] = []
        differ, scattered, distinct, digest = False, False, 0, 0
        for part in range(parts):
            numbers, ids, contents = self._part(part, parts)
            order = np.lexsort((numbers, ids))
            ids, contents, numbers = ids[order], contents[order], numbers[order]
            same = np.zeros(len(ids), dtype=bool)
            same[1:] = ids[1:] == ids[:-1]
            if same.any():
                differ = differ or bool((contents[1:][same[1:]] != contents[:-1][same[1:]]).any())
                scattered = scattered or bool((np.diff(numbers)[same[1:]] > 1).any())
                again += numbers[same].tolist()
            distinct += int((~same).sum())
            digest ^= int(np.bitwise_xor.reduce(ids[~same])) if len(ids) else 0
        return Repeats(tuple(sorted(again)), differ, scattered, distinct, digest)

    def _part(self, part: int, parts: int) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
        """Returns the numbers, id digests and value digests of the rows whose ids belong to this part."""
        blocks = []
        for start in range(0, self.rows, PART):
            count = min(PART, self.rows - start)
            block = np.frombuffer(os.pread(self._digests.fileno(), 16 * count, 16 * start), dtype=np.int64)
            block = block.reshape(-1, 2)
            chosen = np.flatnonzero(block[:, 0].astype(np.uint64) % parts == part) if parts > 1 else slice(None)
            numbers = np.arange(start, start + count)[chosen]
            blocks.append((numbers, block[chosen, 0], block[chosen, 1]))
        if not blocks:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        numbers, ids, contents = (np.concatenate(column) for column in zip(*blocks, strict=True))
        return numbers, ids, contents

    def remove(self, again: Iterable[int]) -> None:
        """Removes the rows with these numbers, which are identical repeats."""
        left_out, old, size = set(again), self._csv, self._size
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

    def delivery(self, *, complete: bool) -> Delivery:
        """Returns the rows as a delivery, which can be read until `close` is called."""
        self._csv.flush()
        self._digests.close()
        return Delivery(
            kind=self.kind, file=self.file, complete=complete, header=self.header, size=self._size, read=self._read
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
        # PostgreSQL cannot store NUL, and UTF-8 cannot encode a lone surrogate.
        written = _lines(rows).replace("\0", "\ufffd").encode("utf-8", "replace")
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


def _lines(rows: Sequence[Cells]) -> str:
    """Returns rows as CSV; cells are joined directly if the counts of commas and lines show that none needs quotes."""
    plain = "\n".join([*map(",".join, rows), ""])
    commas = sum(map(len, rows)) - len(rows)
    if '"' not in plain and "\r" not in plain and (plain.count(","), plain.count("\n")) == (commas, len(rows)):
        return plain
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()

"""Owns the rows of one kind on their way: CSV in a file without a name, and a digest of each row beside it.

The files are of this process only (0600) and gone with it, whatever becomes of it. Memory holds one page of rows; when
a collection has come, sixteen bytes a row, in parts.
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
    """What a collection has more than once: rows again word for word, by their number; and whether any differ.

    `scattered` is whether one came again apart from itself: where pages have no order, others are then missing.
    `distinct` ids there are, of which `digest` is made in no order.
    """

    again: tuple[int, ...]
    differ: bool
    scattered: bool
    distinct: int
    digest: int


NAMELESS = hash("")


class DiskBudget:
    """The bytes that the spools of one pull may take on the disk together."""

    def __init__(self, gb: float) -> None:
        self._gb = gb
        self.left = int(gb * (1 << 30))

    def take(self, size: int) -> None:
        """So many more, or less. Raises `SourceRefused` where there is no room for them."""
        self.left -= size
        if self.left < 0 < size:
            raise SourceRefused(
                f"The source has given over {self._gb:g} GB and is at no end: ask its vendor whether its collections "
                "end. If the district is as large, raise the source's pull-gb."
            )


class Spool:
    """The rows of one kind."""

    def __init__(self, kind: str, file: str, header: Cells, room: DiskBudget) -> None:
        self.kind, self.file, self.header, self._room = kind, file, header, room
        self.rows = self._taken = 0
        self._digests = self._opened()
        self._csv = self._opened()
        self._size = 0
        self._write([header])

    def add(self, rows: Iterable[Cells]) -> None:
        """Writes rows, and notes the digest of each one's id and of the rest but the time of its change."""
        kept = list(rows)
        self._write(kept)
        digests = np.empty((len(kept), 2), dtype=np.int64)
        digests[:, 0] = np.fromiter(map(hash, map(_ID, kept)), np.int64, len(kept))
        # Rows without a sourcedId are no repeats of each other; the sync quarantines them one by one.
        nameless = np.flatnonzero(digests[:, 0] == NAMELESS)
        digests[nameless, 0] = -1 - self.rows - nameless
        digests[:, 1] = np.fromiter(map(hash, map(_REST, kept)), np.int64, len(kept))
        self._take(digests.nbytes)
        self._digests.write(digests.tobytes())
        self.rows += len(kept)

    def repeats(self) -> Repeats:
        """What came more than once."""
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
        """Numbers, ids and contents of the rows whose id falls into this part."""
        found = []
        for start in range(0, self.rows, PART):
            count = min(PART, self.rows - start)
            block = np.frombuffer(os.pread(self._digests.fileno(), 16 * count, 16 * start), dtype=np.int64)
            block = block.reshape(-1, 2)
            chosen = np.flatnonzero(block[:, 0].astype(np.uint64) % parts == part) if parts > 1 else slice(None)
            numbers = np.arange(start, start + count)[chosen]
            found.append((numbers, block[chosen, 0], block[chosen, 1]))
        if not found:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        numbers, ids, contents = (np.concatenate(column) for column in zip(*found, strict=True))
        return numbers, ids, contents

    def without(self, again: Iterable[int]) -> None:
        """Drops rows by their number: those that came word for word before."""
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
        """As the port has it. Readable until `close`."""
        self._csv.flush()
        self._digests.close()
        return Delivery(
            kind=self.kind, file=self.file, complete=complete, header=self.header, size=self._size, read=self._read
        )

    def close(self) -> None:
        """The rows are gone."""
        self._digests.close()
        self._csv.close()
        self._take(-self._taken)

    @staticmethod
    def _opened() -> IO[bytes]:
        return tempfile.TemporaryFile()  # unlinked from the first, and 0600

    def _write(self, rows: Sequence[Cells]) -> None:
        # PostgreSQL keeps no NUL, and UTF-8 has no half a surrogate.
        written = _lines(rows).replace("\0", "\ufffd").encode("utf-8", "replace")
        self._take(len(written))
        self._size += self._csv.write(written)

    def _take(self, size: int) -> None:
        self._taken += size
        self._room.take(size)

    def _read(self) -> Iterator[bytes]:
        at = 0
        while chunk := os.pread(self._csv.fileno(), CHUNK, at):
            yield chunk
            at += len(chunk)


def _lines(rows: Sequence[Cells]) -> str:
    """Rows as CSV. Most pages have no cell that needs quotes: those are joined, and their commas and lines counted."""
    plain = "\n".join([*map(",".join, rows), ""])
    commas = sum(map(len, rows)) - len(rows)
    if '"' not in plain and "\r" not in plain and (plain.count(","), plain.count("\n")) == (commas, len(rows)):
        return plain
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()

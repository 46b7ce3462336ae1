"""Owns the check of a CSV byte stream on its way to COPY: columns, quotes, line ends, encoding. Never judges a value.

COPY writes the line that it cannot read into the server's log. Therefore nothing reaches it that it cannot read: a
block of rows that fit their header passes as it came, and in any other block each row that does not fit is replaced by
an empty one, which keeps the place and, where it can be read, the sourcedId. `Screen` remembers those rows by number.
"""

import csv
import re
from array import array
from collections.abc import Generator, Iterator

import numpy as np

from app.sis.port import Delivery, SourceRefused

LONGEST_ROW = 8 << 20  # bytes; a cell of a megabyte is taken
LONGEST_RUN = 4096  # carriage returns after the header that may belong to its line end
MOST_FAULTS = 1_000_000  # rows of one file that do not fit their header; each is remembered
COLUMNS, MALFORMED = "row.columns", "row.malformed"
QUOTE, COMMA, FEED, RETURN = 34, 44, 10, 13
MARK = "\ufdd0"  # no character: stands for a carriage return, at which `csv` would end the row
_CELL = rb'(?:"(?:[^"]++|"")*+"|[^",]*+)'
_RECORD = re.compile(rb"%b(?:,%b)*+" % (_CELL, _CELL))
"""One record of RFC 4180, without its line end."""


class Screen:
    """The bytes of one delivery as COPY can read them, and the rows that did not fit."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._width = len(delivery.header)
        self._key = delivery.header.index("sourcedId")
        self._end = b""
        self._mark = b"\n"
        self._number = 0
        self.blank = array("q")
        """Numbers of the lines without any character: no rows, and no faults."""
        self.faults: dict[str, array[int]] = {COLUMNS: array("q"), MALFORMED: array("q")}
        """Numbers of the rows that do not fit, by the code of their fault; the first row after the header is 1."""

    def read(self) -> Iterator[bytes]:
        """The header, then blocks of whole rows. Raises `SourceRefused` where the file as a whole cannot be taken."""
        rest = b""
        for chunk in self._delivery.read():
            rest += chunk
            if not self._end:
                header, rest = self._header(rest, last=False)
                if header:
                    yield header
            if self._end:
                rest = yield from self._blocks(rest, last=False)
        if not self._end:
            header, rest = self._header(rest, last=True)
            yield header
        yield from self._blocks(rest, last=True)

    def _blocks(self, data: bytes, *, last: bool) -> Generator[bytes, None, bytes]:
        """Gives what is whole of `data`, and returns the rest, from the beginning of a row on."""
        while data:
            cut = len(data) if last else data.rfind(self._mark) + 1
            block = data[:cut]
            self._must_be_text(block)
            quotes = _places(block, QUOTE) if b'"' in block else None
            if quotes is not None:
                cut, quotes = self._last_end(block, quotes)
                block = block[:cut]
            if block and (rows := self._rows_of_plain(block, quotes)):
                self._number += rows
                yield block
                data = data[cut:]
            elif block or last or len(data) > LONGEST_ROW:
                written, taken = self._sift(data, last=last)
                yield written
                if not taken:
                    break
                data = data[taken:]
            else:
                break
        return data

    def _last_end(self, block: bytes, quotes: "np.ndarray") -> tuple[int, "np.ndarray"]:
        """Where the last row ends that is whole, and the quotes before: a later one goes on in the next chunk."""
        cut, count = len(block), len(quotes)
        while count % 2:
            cut = block.rfind(self._mark, 0, int(quotes[count - 1])) + 1
            count = int(np.searchsorted(quotes, cut))
        return cut, quotes[:count]

    def _header(self, data: bytes, *, last: bool) -> tuple[bytes, bytes]:
        """The first line, by which the line ends of the file are known, and what follows it."""
        start = min((at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0), default=len(data))
        line, following = data[:start], data[start : start + LONGEST_RUN].lstrip(b"\r")
        if not following and not last and len(data) - start < LONGEST_RUN:
            return b"", data
        if following.startswith(b"\n") or start == len(data):
            after = min(data.find(b"\n", start) + 1, len(data)) or len(data)
            self._end = b"\r\n" if data[start : start + 1] == b"\r" else b"\n"
        else:
            self._end = self._mark = b"\r"
            after = start + 1
        return line + self._end, data[after:]

    def _must_be_text(self, block: bytes) -> None:
        try:
            if not block.isascii():
                block.decode()
        except UnicodeDecodeError:
            raise self._refused("is not UTF-8 throughout: export it as UTF-8.") from None
        if b"\0" in block:
            raise self._refused("is not UTF-8 throughout, since it holds a NUL character: export it as UTF-8.")

    def _refused(self, sentence: str) -> SourceRefused:
        return SourceRefused(f"{self._delivery.file} {sentence}")

    def _rows_of_plain(self, block: bytes, quotes: "np.ndarray | None") -> int:
        """How many rows a block has of which every one fits the header as COPY reads it; 0 where any may not."""
        letters = np.frombuffer(block, np.uint8)
        mark = self._mark[0]
        if quotes is not None and not _are_strict(letters, quotes, mark):
            return 0
        # Whether a place lies within quotes is the parity of the quotes up to it; bytes may well run over.
        inside = np.add.accumulate(letters == QUOTE, dtype=np.uint8) & 1 if quotes is not None else None
        is_end = (letters == COMMA) | (letters == mark)
        kinds = letters[is_end if inside is None else is_end & (inside == 0)]
        if block[-1:] != self._mark:
            kinds = np.append(kinds, np.uint8(mark))
        rows, odd = divmod(len(kinds), self._width)
        ends_row = kinds == mark
        if odd or int(np.count_nonzero(ends_row)) != rows or not bool(ends_row[self._width - 1 :: self._width].all()):
            return 0
        return rows if self._ends_alike(block, letters, inside) else 0

    def _ends_alike(self, block: bytes, letters: "np.ndarray", inside: "np.ndarray | None") -> bool:
        """Whether every row ends as the header does, and no line end stands in a row outside of quotes."""
        both = self._end == b"\r\n"
        other = FEED if self._mark == b"\r" else RETURN
        if not both and bytes((other,)) not in block:
            return True
        if both and inside is None:
            return block.count(b"\r\n") == block.count(b"\r") == block.count(b"\n")
        others = _outside(letters == other, inside)
        if not both:
            return not len(others)
        feeds = _outside(letters == FEED, inside)
        return len(feeds) == len(others) and bool((feeds - 1 == others).all())

    def _sift(self, data: bytes, *, last: bool) -> tuple[bytes, int]:
        """Takes rows one by one, up to a block's size or to a row that is not whole yet; how many bytes it took."""
        written: list[bytes] = []
        at = 0
        while at < len(data):
            end = data.find(self._mark, at)
            if end < 0 and not last:
                if len(data) - at > LONGEST_ROW:
                    raise self._refused(f"has a row of over {LONGEST_ROW >> 20} MB: export it again.")
                break
            after = len(data) if end < 0 else end + 1
            if data.count(b'"', at, after) % 2:
                whole = self._joined(data, at, after, last=last)
                if whole is None:
                    break
                after = max(whole, after)
                fits = whole > 0
            else:
                fits = True
            self._number += 1
            written.append(self._row(data[at:after]) if fits else self._malformed(data[at:after]))
            at = after
        return b"".join(written), at

    def _joined(self, data: bytes, at: int, after: int, *, last: bool) -> int | None:
        """Where a row ends that has a line end within quotes; 0 where it is none, None where that is not seen yet."""
        place, is_open = after, True
        for _ in range(self._width):
            closing = data.find(b'"', place)
            while closing >= 0 and data[closing + 1 : closing + 2] == b'"':
                closing = data.find(b'"', closing + 2)
            if closing < 0 or (closing + 1 == len(data) and not last):
                break
            if data[closing + 1 : closing + 2] not in (b"", b",", b"\r", b"\n"):
                return 0
            end = data.find(self._mark, closing)
            if end < 0 and not last:
                break
            end = len(data) if end < 0 else end
            is_open ^= data.count(b'"', place, end) % 2 == 1
            if not is_open:
                return min(end + 1, len(data)) if _RECORD.fullmatch(data[at:end].rstrip(b"\r\n")) else 0
            place = end
        if last and data[-1:] != self._mark:
            raise self._refused("ends inside a quoted value: send it again.")
        return 0 if last or len(data) - at > LONGEST_ROW else None

    def _row(self, line: bytes) -> bytes:
        """One row as COPY takes it: as it is, with its line ends mended, or replaced."""
        body = line.removesuffix(self._mark).rstrip(b"\r")
        if not body:
            self._note(self.blank)
            return self._empty(b"")
        outside = body.split(b'"')[::2]
        if sum(part.count(b",") for part in outside) != self._width - 1:
            cells = _cells(body)
            if cells is None:
                return self._malformed(body)
            return self._replaced(COLUMNS, cells[self._key].encode() if len(cells) > self._key else b"")
        if not any(part.count(b"\r") + part.count(b"\n") for part in outside):
            return body + self._end
        cells = _cells(body)
        if cells is None or len(cells) != self._width:
            return self._malformed(body)
        return b",".join(_quoted(cell.encode()) for cell in cells) + self._end

    def _malformed(self, row: bytes) -> bytes:
        """In place of a row that is no CSV: what stands before its first quote can be read all the same."""
        cells = row.partition(b'"')[0].split(b",")[:-1]
        return self._replaced(MALFORMED, cells[self._key].rstrip(b"\r\n") if len(cells) > self._key else b"")

    def _replaced(self, code: str, key: bytes) -> bytes:
        self._note(self.faults[code])
        return self._empty(key)

    def _empty(self, key: bytes) -> bytes:
        """A row that says nothing but its sourcedId."""
        return b"," * self._key + (_quoted(key) if key else b"") + b"," * (self._width - self._key - 1) + self._end

    def _note(self, numbers: "array[int]") -> None:
        numbers.append(self._number)
        if len(self.blank) + sum(map(len, self.faults.values())) > MOST_FAULTS:
            raise self._refused(f"has over {MOST_FAULTS:,} lines that do not fit its header: export it again.")


def _places(block: bytes, letter: int) -> "np.ndarray":
    return np.flatnonzero(np.frombuffer(block, np.uint8) == letter)


def _outside(is_one: "np.ndarray", inside: "np.ndarray | None") -> "np.ndarray":
    """The places of such letters that lie in no quotes."""
    return np.flatnonzero(is_one if inside is None else is_one & (inside == 0))


def _are_strict(letters: "np.ndarray", quotes: "np.ndarray", mark: int) -> bool:
    """Whether each quote opens or closes a cell, or is doubled.

    Otherwise one that is forgotten in a row might pair with one of a later row, and all rows between become one cell.
    """
    opens, closes = quotes[::2], quotes[1::2]
    before = letters[np.maximum(opens - 1, 0)]
    fits = (opens == 0) | (before == COMMA) | (before == mark) | (before == FEED)
    fits[1:] |= opens[1:] - 1 == closes[: len(opens) - 1]
    after = letters[np.minimum(closes + 1, len(letters) - 1)]
    closed = (closes == len(letters) - 1) | (after == COMMA) | (after == FEED) | (after == RETURN) | (after == QUOTE)
    return bool(fits.all()) and bool(closed.all())


def _cells(body: bytes) -> list[str] | None:
    """The cells of one row; None where it is no CSV. A carriage return within one is kept."""
    try:
        rows = list(csv.reader([body.decode().replace("\r", MARK)], strict=True))
    except csv.Error:
        return None
    return [cell.replace(MARK, "\r") for cell in rows[0]] if len(rows) == 1 else None


def _quoted(cell: bytes) -> bytes:
    plain = not any(letter in cell for letter in (b'"', b",", b"\r", b"\n", b"\\"))
    return cell if plain else b'"' + cell.replace(b'"', b'""') + b'"'

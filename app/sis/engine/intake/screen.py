"""Checks the bytes of a CSV file before COPY: columns, quotes, line ends, encoding. Checks no values.

COPY writes a line that it cannot read to the server's log, so COPY must only get lines that it can read.

* A block of rows that match the header passes unchanged.
* In any other block, each row that does not match is replaced by an empty row, which keeps the row number and, if it
  is readable, the sourcedId. `Screen` stores the numbers of the replaced rows.

This file exceeds 250 lines so that both ways of checking rows, by block and one by one, are in one place.
"""

import re
from array import array
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from app.core.encoding import guess_encoding
from app.sis.engine.intake.blocks import (
    COMMA,
    FEED,
    QUOTE,
    RETURN,
    are_strict,
    count_outside,
    has_open_year,
    has_padding,
    positions,
    within_quotes,
)
from app.sis.engine.intake.row_text import END_OF_FILE, NOTHING, cells_of, digest_row, footers_of, is_text, quoted
from app.sis.kinds import BY_NAME
from app.sis.port import Delivery, SourceRefused, leave_out_hint

MAX_ROW_BYTES = 8 << 20  # bytes; a cell of a megabyte is accepted
MAX_CARRIAGE_RETURNS = 4096  # carriage returns after the header that may belong to its line end
MAX_FAULTS = 1_000_000  # rows of one file that do not match the header; their numbers are kept in memory
REPLACEMENT = "\ufffd".encode()
TAIL = 4096  # the bytes at the end of a file in which footers are recognized
MAX_DIGESTS = 50_000  # malformed rows of one file whose content gets a digest
GUESSED = 4096  # the number of bytes from which an encoding is guessed, and the bytes that are known of a row too long
COLUMNS, MALFORMED, TOO_LONG = "row.columns", "row.malformed", "row.too_long"
ORDINARY = bytes(set(range(256)) - {QUOTE, COMMA, FEED, RETURN})
"""All bytes except quotes, commas and line ends."""
_END_PADDING = re.compile(rb"(?:\x1a|%b)+\Z" % REPLACEMENT)
_CELL = rb'(?:"(?:[^"]++|"")*+"|[^",]*+)'
_RECORD = re.compile(rb"%b(?:,%b)*+" % (_CELL, _CELL))
"""Matches one record of RFC 4180 without its line end."""


class Screen:
    """Reads a delivery and yields its bytes in a form that COPY can read. Stores which rows are malformed."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._width = len(delivery.header)
        self._nameless = delivery.nameless
        self._keys = [delivery.header.index(name) for name in ("sourcedId", delivery.owner) if name]
        self._end = b""
        self._mark = b"\n"
        self._header_line = b""
        self._number = 0
        kind = BY_NAME.get(delivery.kind)
        ends = (field.header for field in kind.fields if field.type.startswith("end_")) if kind else ()
        self._ends = frozenset(ends) & frozenset(delivery.header)
        self._is_skipping = False  # the rest of a row that is too long is left out
        self._tail = b""
        self.blank = array("q")
        """The numbers of the lines without any text, which count neither as rows nor as faults."""
        self.footers = 0
        """The number of rows at the end of the file that are no records, such as `Total rows: 123`."""
        self.repeated_header: list[str] | None = None
        """The cells of the header if the header may come again below, as in files that were joined."""
        self.padded = False
        """Whether a cell may begin or end with a blank."""
        self.has_separators = False
        """Whether a cell may have a semicolon or a bar, with which a source may separate a list."""
        self.open_ends: frozenset[str] = frozenset()
        """The columns that may have a year by which sources say that there is no end."""
        self.nuls = 0
        """The number of NUL characters, which are replaced because PostgreSQL cannot store them."""
        self.quotes: array[int] = array("q")
        """The numbers of the rows that are accepted although a quote in them is misplaced or escaped by a backslash."""
        self.faults: dict[str, array[int]] = {code: array("q") for code in (COLUMNS, MALFORMED, TOO_LONG)}
        """The numbers of the rows that do not match the header, by error code; the first row after the header is 1."""
        self.digests: dict[int, str] = {}
        """Digests of the first rows that do not match the header, keyed by row number.

        COPY gets an empty row in place of such a row, so the loaded row does not show whether the content has changed.
        """

    def read(self) -> Iterator[bytes]:
        """Yields the header, then blocks of whole rows.

        Raises `SourceRefused` if the file cannot be read at all.
        """
        rest = b""
        for chunk in self._delivery.read():
            rest += chunk
            self._tail = chunk[-TAIL:] if len(chunk) >= TAIL else (self._tail + chunk)[-TAIL:]
            if not self._end:
                header, rest = self._header(rest, last=False)
                if header:
                    yield header
            if self._end:
                if b"\0" in rest:
                    self.nuls += rest.count(b"\0")
                    rest = rest.replace(b"\0", REPLACEMENT)
                rest = yield from self._blocks(rest, last=False)
        if not self._end:
            header, rest = self._header(rest, last=True)
            yield header
        padding = len(self._tail) - len(self._tail.rstrip(END_OF_FILE))
        if padding:
            self.nuls -= self._tail.count(b"\0", len(self._tail) - padding)
            rest = _END_PADDING.sub(b"", rest)
        yield from self._blocks(rest, last=True)
        if self._delivery.has_empty_rows:
            self._leave_out_footers()

    def _leave_out_footers(self) -> None:
        """Counts the footers at the end of the file as empty lines, and no longer as faulty rows."""
        offsets = footers_of(self._tail.rstrip(END_OF_FILE), self._mark, self._keys[0])
        numbers = {self._number - offset for offset in offsets}
        if numbers and numbers.isdisjoint((*self.blank, *self.faults[MALFORMED], *self.faults[TOO_LONG])):
            self.faults[COLUMNS] = array("q", (n for n in self.faults[COLUMNS] if n not in numbers))
            self.blank.extend(numbers)
            self.footers = len(numbers)

    def _blocks(self, data: bytes, *, last: bool) -> Generator[bytes, None, bytes]:
        """Yields the complete rows of `data`, and returns the incomplete row that remains at the end.

        With `last`, the file ends with `data`, so that nothing remains.
        """
        if self._is_skipping:
            _, is_over, data = data.partition(self._mark)
            self._is_skipping = not is_over
        while data:
            cut = len(data) if last else data.rfind(self._mark) + 1
            block = data[:cut]
            self._must_be_text(block)
            self.padded = self.padded or has_padding(block)
            self.has_separators = self.has_separators or b";" in block or b"|" in block
            if self.repeated_header is None and self._header_line in block:
                self.repeated_header = cells_of(self._header_line)
            if self._ends and not self.open_ends and has_open_year(block):
                self.open_ends = self._ends
            quotes = positions(block, QUOTE) if b'"' in block else None
            if quotes is not None:
                cut, quotes = self._last_end(block, quotes)
                block = block[:cut]
            if block and (rows := self._rows_of_plain(block, quotes)):
                self._number += rows
                yield block
                data = data[cut:]
            elif block or last or len(data) > MAX_ROW_BYTES:
                written, taken = self._sift(data, last=last)
                yield written
                if not taken:
                    break
                data = data[taken:]
            else:
                break
        return data

    def _last_end(self, block: bytes, quotes: "np.ndarray") -> tuple[int, "np.ndarray"]:
        """Finds the end of the last complete row of a block: the last line end that is not within quotes.

        `quotes` has the positions of the quotes in the block. Returns the position at which the row ends, and the
        positions of the quotes before it.
        """
        cut, count = len(block), len(quotes)
        while count % 2:
            cut = block.rfind(self._mark, 0, int(quotes[count - 1])) + 1
            count = int(np.searchsorted(quotes, cut))
        return cut, quotes[:count]

    def _header(self, data: bytes, *, last: bool) -> tuple[bytes, bytes]:
        """Splits the header from the bytes that follow it, and returns both.

        The line end of the header counts as the line end of the whole file. With `last`, the file ends with `data`.
        """
        start = min((at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0), default=len(data))
        line, following = data[:start], data[start : start + MAX_CARRIAGE_RETURNS].lstrip(b"\r")
        if not following and not last and len(data) - start < MAX_CARRIAGE_RETURNS:
            return b"", data
        if following.startswith(b"\n") or start == len(data):
            after = min(data.find(b"\n", start) + 1, len(data)) or len(data)
            self._end = b"\r\n" if data[start : start + 1] == b"\r" else b"\n"
        else:
            self._end = self._mark = b"\r"
            after = start + 1
        self._header_line = line
        return line + self._end, data[after:]

    def _must_be_text(self, block: bytes) -> None:
        try:
            if not block.isascii():
                block.decode()
        except UnicodeDecodeError as error:
            row = self._number + count_outside(block[: error.start], self._mark) + 2
            looks = guess_encoding(block[error.start : error.start + GUESSED])
            raise self._refused(
                f"is not UTF-8 throughout: row {row:,} looks like {looks}. Export it as UTF-8."
            ) from None

    def _refused(self, sentence: str) -> SourceRefused:
        return SourceRefused(f"{self._delivery.file} {sentence}{leave_out_hint(self._delivery.file)}")

    def _rows_of_plain(self, block: bytes, quotes: "np.ndarray | None") -> int:
        """Returns the number of rows of a block if COPY can read all of them as they are, otherwise 0.

        Only the characters that separate cells and rows are checked: commas, line ends and quotes.
        """
        separators = block.translate(None, ORDINARY)
        if quotes is not None:
            if not are_strict(np.frombuffer(block, np.uint8), quotes, self._mark[0]):
                return 0
            letters = np.frombuffer(separators, np.uint8)
            separators = letters[(within_quotes(letters) == 0) & (letters != QUOTE)].tobytes()
        if block[-1:] != self._mark:
            separators += self._end
        row = b"," * (self._width - 1) + self._end
        rows = len(separators) // len(row)
        return rows if separators == row * rows and self._has_whole_ends(block, quotes is not None) else 0

    def _has_whole_ends(self, block: bytes, has_quotes: bool) -> bool:
        """Returns whether every CR and every LF outside of quotes is part of a CR LF.

        This is checked only if the file's lines end in CR LF. Otherwise returns True.
        """
        if self._end != b"\r\n":
            return True
        letters = np.frombuffer(block, np.uint8)
        is_return, is_feed = letters == RETURN, letters == FEED
        whole = np.count_nonzero(is_return[:-1] & is_feed[1:])
        if whole == np.count_nonzero(is_return) == np.count_nonzero(is_feed):
            return True
        if not has_quotes:
            return False
        is_outside = within_quotes(letters) == 0
        returns, feeds = np.flatnonzero(is_return & is_outside), np.flatnonzero(is_feed & is_outside)
        return len(feeds) == len(returns) and bool((feeds - 1 == returns).all())

    def _sift(self, data: bytes, *, last: bool) -> tuple[bytes, int]:
        """Checks rows one by one, up to the first incomplete row.

        Returns the checked rows in a form that COPY can read, and the number of bytes of `data` that these rows used.
        With `last`, the file ends with `data`.
        """
        written: list[bytes] = []
        at = 0
        while at < len(data):
            end = data.find(self._mark, at)
            if end < 0 and not last:
                if len(data) - at > MAX_ROW_BYTES:
                    self._number += 1
                    self._is_skipping = True
                    written.append(self._malformed(data[at : at + GUESSED], TOO_LONG))
                    at = len(data)
                break
            after = len(data) if end < 0 else end + 1
            if data.count(b'"', at, after) % 2 and not self._has_stray_quotes_only(data[at:after]):
                whole = self._quoted_row_end(data, at, after, last=last)
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

    def _quoted_row_end(self, data: bytes, at: int, after: int, *, last: bool) -> int | None:
        """Returns the position at which a row ends. The row is on several lines, because a value contains a line end.

        The row begins at `at`, and its first line ends at `after`. Returns 0 if the row is malformed, and None if it is
        incomplete. With `last`, the file ends with `data`.
        """
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
        return 0 if last or len(data) - at > MAX_ROW_BYTES else None

    def _row(self, line: bytes) -> bytes:
        """Returns a row in a form that COPY can read. A malformed row becomes an empty one.

        Any other row is returned as it is, or with these corrections:

        * Its line end becomes that of the file.
        * Misplaced quotes are replaced by quotes as CSV requires them.
        * If the last columns have no name, and the row leaves out their cells, these cells are added.
        """
        body = line.removesuffix(self._mark).rstrip(b"\r")
        if not body.strip(NOTHING).replace(REPLACEMENT, b""):
            self._note(self.blank)
            return self._empty()
        lacking = self._width - 1 - sum(part.count(b",") for part in body.split(b'"')[::2])
        if 0 < lacking <= self._nameless:
            body += b"," * lacking
        if self._has_stray_quotes_only(body):
            self.quotes.append(self._number)
            return b",".join(map(quoted, body.split(b","))) + self._end
        outside = body.split(b'"')[::2]
        if sum(part.count(b",") for part in outside) != self._width - 1:
            if self._delivery.has_empty_rows and not body.strip(NOTHING + b',"'):
                self._note(self.blank)
                return self._empty()
            cells = cells_of(body)
            if cells is None and (escaped := cells_of(body, escape="\\")) and len(escaped) == self._width:
                self.quotes.append(self._number)
                return b",".join(quoted(cell.encode()) for cell in escaped) + self._end
            if cells is None:
                return self._malformed(body)
            return self._replaced(COLUMNS, body, [cell.encode() for cell in cells])
        is_record = len(outside) == 1 or _RECORD.fullmatch(body) is not None
        if is_record and not any(part.count(b"\r") + part.count(b"\n") for part in outside):
            return body + self._end
        cells = cells_of(body) or cells_of(body, escape="\\")
        if cells is None or len(cells) != self._width:
            return self._malformed(body)
        if not is_record:
            self.quotes.append(self._number)
        return b",".join(quoted(cell.encode()) for cell in cells) + self._end

    def _has_stray_quotes_only(self, row: bytes) -> bool:
        """Returns whether no quote of a row encloses a cell, so that all quotes can be read as ordinary characters.

        This is the case if the row has quotes, no cell begins with a quote, and the number of cells is right.
        """
        if b'"' not in row or row.startswith(b'"') or b',"' in row:
            return False
        return row.count(b",") == self._width - 1

    def _malformed(self, row: bytes, code: str = MALFORMED) -> bytes:
        """Records a malformed row, and returns the empty row that replaces it.

        The empty row has the sourcedId of the malformed row, if the sourcedId comes before the first quote and is
        UTF-8.
        """
        cells = row.partition(b'"')[0].split(b",")[:-1]
        return self._replaced(code, row, [cell.rstrip(b"\r\n") if is_text(cell) else b"" for cell in cells])

    def _replaced(self, code: str, row: bytes, cells: Sequence[bytes]) -> bytes:
        """Records the fault and a digest of the current row. Returns the row that replaces it.

        `cells` are the cells of the row, as far as they can be read. The row that replaces it is empty except for the
        sourcedId, or, without a sourcedId, for the column `Delivery.owner`.
        """
        self._note(self.faults[code])
        if len(self.digests) < MAX_DIGESTS:
            self.digests[self._number] = digest_row(row)
        place = next((key for key in self._keys if len(cells) > key and cells[key].strip()), None)
        return self._empty() if place is None else self._empty(place, quoted(cells[place]))

    def _empty(self, place: int = 0, cell: bytes = b"") -> bytes:
        """Returns a row that is empty except for the cell in the column with the index `place`."""
        return b"," * place + cell + b"," * (self._width - place - 1) + self._end

    def _note(self, numbers: "array[int]") -> None:
        numbers.append(self._number)
        if len(self.blank) + sum(map(len, self.faults.values())) > MAX_FAULTS:
            raise self._refused(f"has over {MAX_FAULTS:,} lines that do not match its header: export it again.")

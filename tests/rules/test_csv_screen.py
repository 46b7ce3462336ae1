"""Tests the check of a CSV stream before COPY: COPY can read all that passes, and a bad row affects no other row."""

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sis.engine.intake.screen import COLUMNS, MALFORMED, Screen
from app.sis.port import Delivery, SourceRefused

HEADER = ("sourcedId", "name", "note")


def _screened(rows: bytes, size: int = 1 << 20, end: bytes = b"\r\n") -> tuple[bytes, Screen]:
    data = b"sourcedId,name,note" + end + rows

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    screen = Screen(Delivery("person", "users.csv", True, HEADER, len(data), chunks))
    given = b"".join(screen.read())
    assert given.startswith(b"sourcedId,name,note" + end)
    return given[len(b"sourcedId,name,note" + end) :], screen


def _faults(screen: Screen) -> list[tuple[int, str]]:
    return sorted((number, code) for code, numbers in screen.faults.items() for number in numbers)


WHOLE = {
    "plain": b"a,b,c\r\nd,e,f\r\n",
    "no line end at the end": b"a,b,c\r\nd,e,f",
    "quoted": b'"a","b, ""b""","c\r\nc"\r\n"d","",f\r\n',
    "beyond ASCII": "ä,ß,漢\r\n".encode(),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_file_that_fits_passes_as_it_is(case: str, size: int) -> None:
    """A valid file passes unchanged, however it is divided into chunks."""
    given, screen = _screened(WHOLE[case], size)
    assert given.rstrip(b"\r\n") == WHOLE[case].rstrip(b"\r\n")
    assert _faults(screen) == []


BAD = {
    "a column too many": (b"x,y,z,Secret", b"x,,", COLUMNS),
    "a column too few": (b"x,Secret", b"x,,", COLUMNS),
    "a quote that never ends": (b'x,"Secret,z', b"x,,", MALFORMED),
    "a quote that ends within a value": (b'x,"Se"cret",z', b"x,,", MALFORMED),
    "the mark at which an old server stops": (b"\\.", b"\\.,,", COLUMNS),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_bad_row_costs_that_row_alone(case: str, size: int) -> None:
    """A malformed CSV row keeps its line and its sourcedId, and loses its other values. Other rows are not changed."""
    bad, instead, code = BAD[case]
    before, after = b'a,b,c\r\n"b","b\r\nb",c\r\n', b'c,b,c\r\nd,"b, b",c\r\n'
    given, screen = _screened(before + bad + b"\r\n" + after, size)
    assert _faults(screen) == [(3, code)]
    assert b"cret" not in given
    written = instead if instead != b"\\.,," else b'"\\.",,'
    assert given == before + written + b"\r\n" + after


@pytest.mark.parametrize("rows", [b" a,b,c\r\n", b"a,b,c\r\n d,e,f", b"a,b,c ", b"a,b ,c\r\n", b'a," b",c\r\n'])
def test_a_blank_at_the_edge_of_any_cell_is_seen(rows: bytes) -> None:
    """A blank at the start or end of a cell is found also in the first and the last cell of a file.

    Blanks that are not found would stay, and a padded sourcedId would count as another person.
    """
    assert _screened(rows)[1].padded
    assert not _screened(b"a,b c,d\r\ne,f  g,\r\n")[1].padded


def test_quotes_within_a_value_and_nul_are_kept_visible_and_noted() -> None:
    """Quotes within a value are doubled and a NUL is replaced. Both are recorded, and no row is refused."""
    given, screen = _screened(b'a,Robert "Bob" Smith,c\r\nd,\0e,f\r\n')
    assert given == b'a,"Robert ""Bob"" Smith",c\r\nd,\xef\xbf\xbde,f\r\n'
    assert (list(screen.quotes), screen.nuls, _faults(screen)) == ([1], 1, [])


def test_two_forgotten_quotes_swallow_no_rows() -> None:
    """If two rows each lack a quote, both are refused, and the rows between them are not lost."""
    rows = b"".join(b"s%d,name,note\r\n" % number for number in range(50))
    given, screen = _screened(b'x,"Bo,z\r\n' + rows + b'y,"Jim,z\r\n')
    assert _faults(screen) == [(1, MALFORMED), (52, MALFORMED)]
    assert rows in given


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_that_differ_from_the_headers_are_mended(end: bytes) -> None:
    """Line ends that differ from those of the header are replaced, because COPY refuses a file with mixed line ends.

    A carriage return within a value is kept, in quotes.
    """
    given, screen = _screened(b"a,b,c" + end + b"d,e,f\r\n" * (end != b"\r") + b"g,h,i\n" * (end != b"\r"), end=end)
    assert _faults(screen) == []
    assert given.count(end) == given.count(b"a") + 2 * (end != b"\r")
    if end != b"\r":
        given, screen = _screened(b"a,b\rb,c" + end, end=end)
        assert (given, _faults(screen)) == (b'a,"b\rb",c' + end, [])


def test_lines_without_anything_are_no_rows() -> None:
    """Empty lines count as lines of the file but not as rows, so that later rows have the right numbers."""
    given, screen = _screened(b"a,b,c\r\n\r\nd,e\r\n\r\n")
    assert (list(screen.blank), _faults(screen)) == ([2, 4], [(3, COLUMNS)])
    assert given == b"a,b,c\r\n,,\r\nd,,\r\n,,\r\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b'a,b,"Secret', "ends inside a quoted value"),
        (b"a,b,Secr\xe9t\r\n", "is not UTF-8"),
    ],
)
def test_what_spoils_a_whole_file_is_refused_in_a_sentence(rows: bytes, words: str) -> None:
    """A file that ends inside a quoted value, or is not UTF-8, is refused as a whole.

    The error states the reason and contains no value of the file.
    """
    with pytest.raises(SourceRefused, match=words) as refused:
        _screened(rows)
    assert "Secr" not in refused.value.detail


def test_faults_beyond_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with too many malformed lines is refused as a whole."""
    monkeypatch.setattr("app.sis.engine.intake.screen.MAX_FAULTS", 100)
    with pytest.raises(SourceRefused, match="has over 100 lines that do not match"):
        _screened(b"x\r\n" * 101)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(st.text("ab,\"\r\nä'\\", max_size=5), min_size=3, max_size=3), max_size=8),
    size=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_is_written_as_csv_is_read_as_it_was(rows: list[list[str]], size: int, end: str) -> None:
    """Any values that are quoted by RFC 4180 are read as they were written, wherever the stream is divided.

    No row is lost, joined, split or refused.
    """
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(rows)
    given, screen = _screened(out.getvalue().encode(), size, end.encode())
    assert (given.decode(), _faults(screen)) == (out.getvalue(), [])


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200).map(lambda raw: bytes(b'ab,"\r\n\\'[byte % 7] for byte in raw)),
    size=st.integers(1, 60),
)
def test_no_bytes_at_all_break_it(data: bytes, size: int) -> None:
    """For any bytes, the check yields rows with as many cells as the header, or refuses the file."""
    try:
        given, _ = _screened(data, size)
    except SourceRefused:
        return
    rows, inside = [1], False
    for letter in given.decode().replace("\r\n", "\n"):
        inside ^= letter == '"'
        if letter == "," and not inside:
            rows[-1] += 1
        if letter == "\n" and not inside:
            rows.append(1)
    assert set(rows[:-1]) <= {3}, given
    assert rows[-1] in (1, 3)

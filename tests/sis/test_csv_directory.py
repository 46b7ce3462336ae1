"""Tests that the directory of an untrusted zip is read safely.

The end record is read first, and no size that the zip states is trusted.
"""

import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.errors import Invalid
from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import SourceRefused
from app.sis.runs.upload import validate_upload
from tests.sis.roster_zip import Export

MANY = 400_000
PEAK = 8 << 20  # bytes; the directories below have 20 MB and more


def _entry(name: bytes) -> bytes:
    return struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, *(0,) * 7, len(name), *(0,) * 6) + name


def _end(entries: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    fields = (0x06054B50, 0, 0, min(entries, 0xFFFF), min(entries, 0xFFFF), size, offset, len(comment))
    return struct.pack("<IHHHHIIH", *fields) + comment


def _end64(entries: int, size: int, offset: int, at: int) -> bytes:
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, entries, entries, size, offset)
    return record + struct.pack("<IIQI", 0x07064B50, 0, at, 1)


def _crowd() -> bytes:
    return b"".join(_entry(b"%07d" % number) for number in range(MANY))


def _by_zip64(entries: int, end: bytes) -> bytes:
    crowd = _crowd()
    return crowd + _end64(entries, len(crowd), 0, len(crowd)) + end


def _plain(entries: int, *, before: bytes = b"", comment: bytes = b"") -> bytes:
    crowd = _crowd()
    return before + crowd + _end(entries, len(crowd), len(before), comment)


ZIPS: dict[str, Callable[[], bytes]] = {
    "many entries": lambda: _plain(MANY),
    "many entries, of which the record counts three": lambda: _plain(3),
    "many entries by zip64": lambda: _by_zip64(MANY, _end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
    "many entries by zip64 behind a small record": lambda: _by_zip64(3, _end(3, 100, 0)),
    "many entries before a comment": lambda: _plain(3, comment=b"x" * 60_000),
    "a small zip before many entries": lambda: _plain(3, before=Export().packed()),
}


@pytest.mark.parametrize("case", ZIPS)
def test_a_directory_that_is_large_is_never_read(tmp_path: Path, case: str) -> None:
    """A zip with a large directory is refused without reading it, whatever its end record states."""
    path = tmp_path / "crowd.zip"
    path.write_bytes(ZIPS[case]())
    tracemalloc.start()
    try:
        with pytest.raises(SourceRefused, match="far more files"), open_zip(path):
            pass
        with path.open("rb") as file, pytest.raises(Invalid) as refused:
            validate_upload(file, "oneroster-csv")
        assert "far more files" in refused.value.violations[0].detail
        assert tracemalloc.get_traced_memory()[1] < PEAK
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_without_bound_is_refused(tmp_path: Path, method: int) -> None:
    """A zip that uses a compression which `zipfile` unpacks without a limit is refused."""
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.csv", "propertyName,value\r\noneroster.version,1.1\r\nfile.users,bulk\r\n")
        archive.writestr("users.csv", b"sourcedId," * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(SourceRefused, match="other than deflate"), open_zip(path):
            pass
        assert tracemalloc.get_traced_memory()[1] < PEAK
    finally:
        tracemalloc.stop()


def test_whatever_a_directory_says_is_an_answer(tmp_path: Path) -> None:
    """If bytes of a zip's directory and end record are changed at random, the result is a roster or a refusal.

    There is never another error.
    """
    whole, path, chance = Export().packed(), tmp_path / "bent.zip", random.Random(7)
    start = whole.index(b"PK\x01\x02")
    outcomes = set()
    for _ in range(600):
        bent = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            bent[chance.randrange(start, len(bent))] = chance.choice((0, 1, 255, chance.randrange(256)))
        path.write_bytes(bent)
        try:
            with open_zip(path) as source:
                for delivery in source.deliveries.values():
                    sum(len(chunk) for chunk in delivery.read())
            outcomes.add("read")
        except SourceRefused:
            outcomes.add("refused")
        with path.open("rb") as file:
            try:
                validate_upload(file, "oneroster-csv")
            except Invalid:
                outcomes.add("invalid")
    assert outcomes == {"read", "refused", "invalid"}

"""Tests which files of excluded users are accepted: if one were misread, people who opted out would be synced."""

from pathlib import Path

import pytest

from app.cli.scope_options import UnusableOption, read_users

READ = {
    "one a line": b"s1\ns2\n",
    "a header and a byte order mark": b"\xef\xbb\xbfsourcedId\r\ns1\r\ns2\r\n",
    "another column with the header": b"name,SourcedId\nAnna,s1\nBen, s2 \n,\n",
    "quotes, and line ends of old Macs": b'"sourcedId","why"\r"s1","a, b"\r"s2",""\r',
    "empty lines first": b"\n\n,\nsourcedId,why\ns1,x\ns2,y\n",
    "one column with empty cells": b"s1,,\ns2,,\n",
}
REFUSED = {
    "semicolons": (b"sourcedId;name\ns1;Anna\n", "separated by semicolons"),
    "tabs": (b"sourcedId\tname\ns1\tAnna\n", "separated by tabs"),
    "columns without a header": (b"Anna,s1\nBen,s2\n", "several columns"),
    "columns with another header": (b"name,id\nAnna,s1\n", "several columns"),
    "UTF-16": ("sourcedId\ns1\n".encode("utf-16"), "looks like UTF-16"),
    "Windows-1252": ("s1\nRen\u00e9\n".encode("cp1252"), "looks like Windows-1252"),
    "a spreadsheet's own format": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "not a text file"),
    "no line": (b"", "no sourcedId"),
    "only a header": (b"sourcedId,why\n", "no sourcedId"),
    "an empty column": (b"sourcedId,name\n,Anna\n", "no sourcedId"),
}


@pytest.mark.parametrize("form", READ)
def test_a_list_of_excluded_users_is_read(tmp_path: Path, form: str) -> None:
    """A list of excluded users has one id on each line, or the ids are in the column with the header sourcedId."""
    (tmp_path / "out.csv").write_bytes(READ[form])
    assert read_users(str(tmp_path / "out.csv")) == ("s1", "s2")


@pytest.mark.parametrize("form", REFUSED)
def test_a_list_that_may_be_misread_is_refused(tmp_path: Path, form: str) -> None:
    """A list whose ids cannot be read with certainty is refused with the reason, so that no wrong person is synced."""
    content, reason = REFUSED[form]
    (tmp_path / "out.csv").write_bytes(content)
    with pytest.raises(UnusableOption, match=reason):
        read_users(str(tmp_path / "out.csv"))

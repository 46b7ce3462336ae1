"""Tests that a cursor cannot be read, edited, or used with another list. Uses no database."""

import base64
import os
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.crypto import Keyring, generate_key
from app.core.cursor import MAX_CURSOR_LENGTH, CursorSeal, cursor_seal
from app.core.errors import Malformed
from app.core.page import Keyset, keyset

OLD, NEW = generate_key("old"), generate_key("new")
DISTRICT, ELSEWHERE = UUID(int=1), UUID(int=2)
PLACE = ("Featherstonehaugh", "Anaïs", str(UUID(int=3)))
BOUND = b"the students of a district"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/.%\n\x00é "
SEAL = CursorSeal([os.urandom(64)])
CURSOR = SEAL.seal(BOUND, PLACE)
PLACES = st.lists(st.one_of(st.text(max_size=300), st.integers(0, 2**63 - 1), st.uuids().map(str)), max_size=4)


def ring(*lines: str) -> Keyring:
    """Returns the keys of a key file with these lines."""
    return Keyring.parse("\n".join(lines))


@pytest.mark.long
@given(PLACES)
def test_a_cursor_opens_to_its_place(place: list[object]) -> None:
    """A cursor decodes to the position for which it was made. The same position always gives the same cursor."""
    cursor = SEAL.seal(BOUND, tuple(place))
    assert SEAL.open(BOUND, cursor) == tuple(place)
    assert SEAL.seal(BOUND, tuple(place)) == cursor


def test_a_cursor_shows_nothing_of_its_place() -> None:
    """A cursor reveals no name and no id, neither in its text nor when it is decoded as base64."""
    raw = base64.urlsafe_b64decode(CURSOR + "=" * (-len(CURSOR) % 4))
    for part in PLACE:
        assert part not in CURSOR
        assert part.encode() not in raw


@given(st.integers(0, len(CURSOR)), st.integers(0, 3), st.text(ALPHABET, max_size=3))
@example(len(CURSOR), 0, "=")
@example(len(CURSOR), 0, "\n")
@example(0, len(CURSOR), "")
def test_an_edited_cursor_opens_nothing(at: int, removed: int, inserted: str) -> None:
    """A changed cursor is refused, even if base64 decodes it to the same bytes."""
    edited = CURSOR[:at] + inserted + CURSOR[at + removed :]
    assert (SEAL.open(BOUND, edited) is None) == (edited != CURSOR)


def test_every_last_sign_but_its_own_is_refused() -> None:
    """A cursor is refused if its last character is replaced by any other one."""
    for sign in ALPHABET:
        if sign != CURSOR[-1]:
            assert SEAL.open(BOUND, CURSOR[:-1] + sign) is None


@given(st.text(max_size=60))
def test_any_text_opens_nothing(text: str) -> None:
    """Any text that is no cursor is refused without an internal error."""
    assert SEAL.open(BOUND, text) is None


def test_a_long_text_is_refused_and_long_names_are_not() -> None:
    """A cursor that is too long is refused. The limit is high enough for the longest names of a roster."""
    place = ("\x01" * 300, "\x7f\U0001f600" * 150, str(UUID(int=3)))
    assert len(SEAL.seal(BOUND, place)) < MAX_CURSOR_LENGTH
    assert SEAL.open(BOUND, "A" * (MAX_CURSOR_LENGTH + 1)) is None
    huge = SEAL.seal(BOUND, ("n" * MAX_CURSOR_LENGTH,))
    assert SEAL.open(BOUND, huge) is None


def test_a_cursor_of_an_older_key_opens_after_a_rotation() -> None:
    """After a change of keys, a cursor can still be read by every process that has the cursor's key in its keyring."""
    before = cursor_seal(ring(OLD)).seal(BOUND, PLACE)
    rotated = cursor_seal(ring(NEW, OLD))
    assert rotated.open(BOUND, before) == PLACE
    assert rotated.seal(BOUND, PLACE) != before
    assert cursor_seal(ring(NEW)).open(BOUND, before) is None


def _keyset(
    district: UUID = DISTRICT,
    listing: str = "students",
    filters: dict[str, object] | None = None,
    cursor: str | None = None,
) -> Keyset:
    return keyset(district, listing, {"grade": "03"} if filters is None else filters, cursor, 10, ring(OLD))


@pytest.mark.parametrize(
    ("district", "listing", "filters"),
    [
        (ELSEWHERE, "students", {"grade": "03"}),
        (DISTRICT, "staff", {"grade": "03"}),
        (DISTRICT, "students", {"grade": "04"}),
        (DISTRICT, "students", {"class": "03"}),
        (DISTRICT, "students", {}),
    ],
    ids=["district", "list", "filter's value", "filter", "no filter"],
)
def test_a_cursor_is_of_one_list(district: UUID, listing: str, filters: dict[str, object]) -> None:
    """A cursor is accepted only for the district, the list and the filter for which it was made."""
    cursor = _keyset().mark(*PLACE)
    assert _keyset(cursor=cursor).after == PLACE
    with pytest.raises(Malformed):
        _keyset(district, listing, filters, cursor)


def test_a_cursor_without_a_keyring_is_of_this_process() -> None:
    """A cursor that was made without encryption keys (a keyring) can be read only by the process that made it."""
    cursor = keyset(DISTRICT, "students", {"grade": "03"}, None, 10).mark(*PLACE)
    assert keyset(DISTRICT, "students", {"grade": "03"}, cursor, 10).after == PLACE
    with pytest.raises(Malformed):
        _keyset(cursor=cursor)

"""Tests the key file: no key is lost unnoticed, because everything encrypted with it would be unreadable."""

import pytest

from app.core.crypto import KeyFault, Keyring, generate_key


def test_keys_made_one_after_the_other_have_their_own_ids() -> None:
    """Keys that are made within one minute have different ids.

    Earlier ids began with the time and could be equal. One of two such keys in a file was then lost.
    """
    lines = [generate_key() for _ in range(50)]
    assert len(Keyring.parse("\n".join(lines)).keys) == 50


@pytest.mark.parametrize("second", ["another key", "the same key"])
def test_a_repeated_id_is_refused(second: str) -> None:
    """A key file in which an id occurs twice is refused with the line number and without the key."""
    first = generate_key("k1")
    with pytest.raises(KeyFault, match="Line 3 of the key file repeats the key id 'k1'") as refused:
        Keyring.parse(f"{first}\n\n{generate_key('k1') if second == 'another key' else first}\n")
    assert first.partition(":")[2] not in str(refused.value)

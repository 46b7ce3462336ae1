"""Encrypts a position in a list into an opaque cursor, and decrypts cursors.

A position may contain a child's name, and a cursor appears in URLs and in the logs of every proxy. It is therefore
encrypted and authenticated with AES-SIV (RFC 5297). AES-SIV needs no nonce, so the same position always gives the same
text, and clients can compare cursors.
"""

import base64
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from app.core.crypto import Keyring

MAX_CURSOR_LENGTH = 6000
"""The largest number of characters of a cursor. It is enough for two escaped names of 300 characters and an id."""
PURPOSE = "page cursor"


class CursorSeal:
    """Encrypts and decrypts cursors with a list of keys. The first key encrypts; every key can decrypt."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._ciphers = tuple(AESSIV(key) for key in keys)

    def seal(self, bound: bytes, place: tuple[Any, ...]) -> str:
        """Returns the encrypted cursor of a position in a list.

        Only a call of `open` with the same `bound` bytes can decrypt it.
        """
        sealed = self._ciphers[0].encrypt(orjson.dumps(place, default=str), [bound])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, bound: bytes, cursor: str) -> tuple[Any, ...] | None:
        """Returns the position in a cursor.

        Returns None if the cursor was encrypted with another `bound` or by another installation.
        """
        sealed = _decode(cursor)
        if sealed is None:
            return None
        for cipher in self._ciphers:
            try:
                return tuple(orjson.loads(cipher.decrypt(sealed, [bound])))
            except InvalidTag:
                continue  # another key may have encrypted it
        return None


def cursor_seal(keyring: Keyring) -> CursorSeal:
    """Returns the object that encrypts cursors with keys derived from this key ring.

    The derived keys are the same in all processes.
    """
    return _seal_of(tuple(keyring.keys.items()))


PROCESS_SEAL = CursorSeal([os.urandom(64)])
"""The encryption for cursors of internal lists, which only this process can decrypt."""


@lru_cache(maxsize=8)
def _seal_of(keys: tuple[tuple[str, bytes], ...]) -> CursorSeal:
    keyring = Keyring(dict(keys))
    return CursorSeal(keyring.derive(name, PURPOSE, length=64) for name in keyring.keys)


def _decode(cursor: str) -> bytes | None:
    """Returns the bytes of a cursor's base64 text, or None if the text is not the canonical spelling of its bytes."""
    if len(cursor) > MAX_CURSOR_LENGTH:
        return None
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    return sealed if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() == cursor else None

"""Encrypts the position in a list into an opaque cursor, and decrypts it. Does not know which list it is.

A position may contain a child's name, and a cursor appears in URLs and in the logs of every proxy. It is therefore
encrypted and authenticated with AES-SIV (RFC 5297). The same position always gives the same text, so clients can
compare cursors, and AES-SIV needs no nonce, of which a busy list could use up the safe number.
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

LONGEST = 6000
"""The largest number of characters of a cursor; two escaped names of 300 characters and an id fit."""
PURPOSE = "page cursor"


class CursorSeal:
    """Encrypts and decrypts cursors. The first key encrypts; every key can decrypt."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._ciphers = tuple(AESSIV(key) for key in keys)

    def seal(self, bound: bytes, place: tuple[Any, ...]) -> str:
        """Returns a cursor for this position; it can be opened only with the same `bound`."""
        sealed = self._ciphers[0].encrypt(orjson.dumps(place, default=str), [bound])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, bound: bytes, cursor: str) -> tuple[Any, ...] | None:
        """Returns the position in a cursor, or None if the cursor belongs to another `bound` or was not issued by this
        installation.
        """
        sealed = _decode(cursor)
        if sealed is None:
            return None
        for cipher in self._ciphers:
            try:
                return tuple(orjson.loads(cipher.decrypt(sealed, [bound])))
            except InvalidTag:
                continue  # another key of the ring may have sealed it
        return None


def cursor_seal(keyring: Keyring) -> CursorSeal:
    """Returns the cursor encryption of an installation; every process that has its keys can open every cursor."""
    return _seal_of(tuple(keyring.keys.items()))


PROCESS_SEAL = CursorSeal([os.urandom(64)])
"""Encrypts the cursors of lists that no API returns; they can be opened in this process only."""


@lru_cache(maxsize=8)
def _seal_of(keys: tuple[tuple[str, bytes], ...]) -> CursorSeal:
    keyring = Keyring(dict(keys))
    return CursorSeal(keyring.derive(name, PURPOSE, length=64) for name in keyring.keys)


def _decode(cursor: str) -> bytes | None:
    """Decodes a cursor that is in canonical base64; an edited cursor with another spelling of the same bytes is
    refused.
    """
    if len(cursor) > LONGEST:
        return None
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    return sealed if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() == cursor else None

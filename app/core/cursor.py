"""Owns how a place in a list is sealed into a cursor, and opened again. Never knows what list it is.

A place may hold a child's name, and a cursor stands in URLs and in the logs of every proxy on the way. It is therefore
encrypted and authenticated, by AES-SIV (RFC 5297): the same place gives the same text, so that a client can compare
two cursors, and there is no nonce of which a busy list could use up the safe number.
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
"""Characters; two names of 300 signs, each written as an escape, and an id are below it."""
PURPOSE = "page cursor"


class CursorSeal:
    """Seals and opens cursors; the first cipher seals, every one opens."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._ciphers = tuple(AESSIV(key) for key in keys)

    def seal(self, bound: bytes, place: tuple[Any, ...]) -> str:
        """A cursor of this place, which opens only with the same `bound`."""
        sealed = self._ciphers[0].encrypt(orjson.dumps(place, default=str), [bound])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, bound: bytes, cursor: str) -> tuple[Any, ...] | None:
        """The place; None for a cursor that is bound to something else, or that was not made here."""
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
    """The seal of an installation: every process with its keys opens what another sealed."""
    return _seal_of(tuple(keyring.keys.items()))


PROCESS_SEAL = CursorSeal([os.urandom(64)])
"""For lists that no face gives out: its cursors mean nothing in any other process."""


@lru_cache(maxsize=8)
def _seal_of(keys: tuple[tuple[str, bytes], ...]) -> CursorSeal:
    keyring = Keyring(dict(keys))
    return CursorSeal(keyring.derive(name, PURPOSE, length=64) for name in keyring.keys)


def _decode(cursor: str) -> bytes | None:
    """The bytes of a cursor in its one spelling: base64 has several of the same bytes, and an edited one is refused."""
    if len(cursor) > LONGEST:
        return None
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    return sealed if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() == cursor else None

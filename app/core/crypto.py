"""Encrypts values and derives keys, using the keys of the installation's key file.

A key file holds one key per line, as `<id>:<base64 of 32 bytes>`. The first key encrypts; every key can decrypt.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class KeyFault(ValueError):
    """Raised when the key file cannot be read, or when a sealed value cannot be decrypted with the available keys."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a key file, by their ids, with the operations that use them.

    The first key encrypts; every key can decrypt.
    """

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Parses the text of a key file; raises `KeyFault`, whose message never contains a key."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            name, _, encoded = line.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
            if not name.isidentifier() or len(key) != 32:
                raise KeyFault(f"Line {number} of the key file is not <id>:<base64 of 32 bytes>.")
            if name in keys:
                # The later key would replace the earlier one, and what the earlier key encrypted would be lost.
                raise KeyFault(f"Line {number} of the key file repeats the key id {name!r}. Give each key its own id.")
            keys[name] = key
        if not keys:
            raise KeyFault("The key file contains no key. Create one with: aimline key new")
        return cls(keys)

    def seal(self, plain: bytes, *bound_to: object) -> str:
        """Encrypts `plain` with AES-256-GCM under the first key, and returns the result as text.

        Only a call of `open` with the same `bound_to` values (such as the district, the row and the column) can decrypt
        it.
        """
        name, key = next(iter(self.keys.items()))
        nonce = os.urandom(12)
        sealed = AESGCM(key).encrypt(nonce, plain, _context(bound_to))
        return f"{name}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *bound_to: object) -> bytes:
        """Returns the decrypted bytes of a sealed value.

        Raises `KeyFault` when the key is missing, when the sealed value was changed, or when `bound_to` differs from
        the `bound_to` of the call of `seal`.
        """
        name, _, body = sealed.partition(".")
        key = self.keys.get(name)
        if key is None:
            raise KeyFault(f"The key {name!r} is not in the key file.")
        raw = base64.b64decode(body)
        try:
            return AESGCM(key).decrypt(raw[:12], raw[12:], _context(bound_to))
        except InvalidTag:
            raise KeyFault("A sealed value does not belong to the row in which it is stored.") from None

    def is_current(self, sealed: str) -> bool:
        """Returns whether a value was encrypted with the key that now encrypts new values."""
        return sealed.partition(".")[0] == next(iter(self.keys))

    def derive(self, name: str, purpose: str, length: int = 32) -> bytes:
        """Derives `length` bytes for one purpose from the key with the id `name` (HKDF-SHA256, RFC 5869)."""
        return HKDF(hashes.SHA256(), length, salt=None, info=purpose.encode()).derive(self.keys[name])

    def signing_keys(self) -> dict[str, ec.EllipticCurvePrivateKey]:
        """Returns the private P-256 keys that sign access tokens, one for each key of the key file, by the key's id.

        New tokens are signed with the first signing key. Tokens that were signed with any other signing key remain
        valid. Signing keys are derived from the key file, so they need not be stored or distributed.
        """
        keys = {}
        for name in self.keys:
            seed = int.from_bytes(self.derive(name, "es256 signing key"))
            secret = seed % (_P256_ORDER - 1) + 1
            keys[name] = ec.derive_private_key(secret, ec.SECP256R1())
        return keys

    def password(self, role: str) -> str:
        """Returns the password of a database role that Aimline created."""
        return self.derive(next(iter(self.keys)), f"database role {role}").hex()


def generate_key(name: str = "") -> str:
    """Returns a new line for a key file, with a random id if none is given."""
    name = name or f"k{os.urandom(6).hex()}"
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


def fingerprint(secret: str) -> str:
    """Returns the SHA-256 of a randomly generated secret.

    A slow password hash is not needed, because such a secret cannot be guessed.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _context(bound_to: tuple[object, ...]) -> bytes:
    return "\x1f".join(str(part) for part in bound_to).encode()

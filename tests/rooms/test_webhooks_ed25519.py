"""Tests deliveries that are signed with ed25519.

The receiver knows only the public key, and verifies signatures as Standard Webhooks describes.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.core.ids import format_id
from app.webhooks import service
from app.webhooks.models import WebhookEndpoint
from app.webhooks.queries import endpoint
from app.webhooks.service import NewEndpoint
from app.webhooks.sign import Signature, public_key
from app.worker import drain
from tests.rooms.webhook_town import SANDBOX, happen
from tests.town import Town

Captured = tuple[dict[str, str], bytes]


@asynccontextmanager
async def capturing() -> AsyncIterator[tuple[str, list[Captured]]]:
    """Runs a receiver; yields its address, and the headers and raw bytes of each request."""
    came: list[Captured] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
                came.append((headers, await reader.readexactly(int(headers["content-length"]))))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", came


def verified(public: str, captured: Captured) -> bool:
    """Returns whether any `v1a` signature over `id.timestamp.body` is valid, as in Standard Webhooks."""
    headers, body = captured
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for one in headers["webhook-signature"].split(" "):
        kind, _, signature = one.partition(",")
        try:
            if kind == "v1a":
                key.verify(base64.b64decode(signature), signed)
                return True
        except InvalidSignature:
            continue
    return False


async def _register(town: Town, address: str) -> WebhookEndpoint:
    new = NewEndpoint(address, ("concern.raised",), signature=Signature.ED25519)
    async with town.unit() as work:
        made, secret = await service.register_endpoint(work, new, SANDBOX)
    assert secret is None
    return made


async def _sent(town: Town, came: list[Captured]) -> Captured:
    event_id = await happen(town)
    await drain(town.settings, {town.district_id})
    assert came[-1][0]["webhook-id"] == format_id("event", event_id)
    return came[-1]


async def test_a_receiver_verifies_with_the_public_key(north: Town) -> None:
    """The public key verifies exactly the bytes that were sent.

    Verification fails with another byte, id, time or key.
    """
    async with capturing() as (address, came):
        made = await _register(north, address)
        headers, body = await _sent(north, came)
        other = await _register(north, address)
    assert made.public_key is not None
    assert other.public_key is not None
    assert len(base64.b64decode(made.public_key.removeprefix("whpk_"))) == 32
    assert verified(made.public_key, (headers, body))
    assert not verified(made.public_key, (headers, body + b" "))
    assert not verified(made.public_key, ({**headers, "webhook-id": "evt_other"}, body))
    assert not verified(made.public_key, ({**headers, "webhook-timestamp": "1"}, body))
    assert not verified(other.public_key, (headers, body))


async def test_a_key_is_rotated_with_an_overlap(north: Town) -> None:
    """While a signing key is rotated with an overlap, both keys sign and both public keys are shown.

    Without an overlap only the new key is used.
    """
    async with capturing() as (address, came):
        made = await _register(north, address)
        old = str(made.public_key)
        async with north.unit() as work:
            rotated, secret = await service.rotate_secret(work, made.id)
        assert secret is None
        assert (rotated.former_public_key, rotated.public_key != old) == (old, True)
        both = await _sent(north, came)
        assert len(both[0]["webhook-signature"].split(" ")) == 2
        assert verified(old, both)
        assert verified(str(rotated.public_key), both)
        async with north.unit() as work:
            last, _ = await service.rotate_secret(work, made.id, timedelta(0))
        assert last.former_public_key is None
        alone = await _sent(north, came)
        assert [verified(key, alone) for key in (old, str(rotated.public_key), str(last.public_key))] == [
            False,
            False,
            True,
        ]


async def test_the_private_key_is_sealed_and_never_shown(north: Town) -> None:
    """The stored private key is encrypted, can be decrypted under its own endpoint only, and is never returned."""
    made = await _register(north, "http://127.0.0.1:9999/")
    async with north.unit() as work:
        row = await endpoint(work, made.id)
    seed = north.settings.keyring.open(row.secret_sealed, "webhook_endpoint", north.district_id, row.id)
    assert public_key(seed) == row.public_key
    assert base64.b64encode(seed).decode() not in f"{row.public_key} {row.secret_sealed}"


@pytest.mark.parametrize("signature", list(Signature))
async def test_each_kind_signs_its_own_way(north: Town, signature: Signature) -> None:
    """An endpoint with a secret gets only signatures of the kind `v1`, and an endpoint with a key only those of the
    kind `v1a`.
    """
    async with capturing() as (address, came):
        async with north.unit() as work:
            new = NewEndpoint(address, ("concern.raised",), signature=signature)
            await service.register_endpoint(work, new, SANDBOX)
        headers, _ = await _sent(north, came)
    kinds = {one.partition(",")[0] for one in headers["webhook-signature"].split(" ")}
    assert kinds == {"v1a" if signature is Signature.ED25519 else "v1"}

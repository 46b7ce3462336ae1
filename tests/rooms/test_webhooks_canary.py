"""Tests that a webhook never connects to this machine, in whatever form its address is written.

The tests listen on every local address, so that they notice each attempt to connect.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.core.address import Allowed
from app.core.errors import Invalid
from app.webhooks import send
from app.webhooks.send import Outcome, Sender
from app.webhooks.service import NewEndpoint, register_endpoint
from tests.rules.test_webhook_address import SPELLINGS
from tests.town import Town


@dataclass
class Canary:
    """Listens on one port of every local address, IPv4 and IPv6."""

    listeners: list[socket.socket]
    port: int

    def seen(self) -> int:
        """Returns the number of connections since the last call."""
        count = 0
        for listener in self.listeners:
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                connection.close()
                count += 1
        return count


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Yields listening sockets on 0.0.0.0 and on [::], both with the same port."""
    listeners: list[socket.socket] = []
    for _ in range(20):
        four, six = socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listeners = [four, six]
        try:
            four.bind(("0.0.0.0", 0))  # noqa: S104  # the canary listens on every address
            six.bind(("::", four.getsockname()[1]))
        except OSError:
            four.close()
            six.close()
            continue
        break
    for listener in listeners:
        listener.listen(16)
        listener.setblocking(False)
    yield Canary(listeners, listeners[0].getsockname()[1])
    for listener in listeners:
        listener.close()


def own_address() -> str:
    """Returns this machine's address on its network, without sending a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


HOSTS = {
    **{name: url.removeprefix("https://").rstrip("/") for name, url in SPELLINGS.items()},
    "loopback": "127.0.0.1",
    "another loopback": "127.8.8.8",
    "this host": "0.0.0.0",  # noqa: S104  # an address to refuse
    "this host, in one": "0",
    "this host, hexadecimal": "0x0",
    "IPv6, this host": "[::]",
    "IPv6, spelt out": "[0:0:0:0:0:0:0:1]",
    "IPv4 compatible": "[::127.0.0.1]",
    "NAT64, hexadecimal": "[64:ff9b::7f00:1]",
    "NAT64, local": "[64:ff9b:1::7f00:1]",
    "6to4": "[2002:7f00:1::1]",
    "Teredo": "[2001:0:7f00:1::80ff:fffe]",
    "zone": "[::1%25lo]",
    "zone, bare": "[::1%lo]",
    "user info": "example.org@127.0.0.1",
    "user info with a port": "example.org:443@127.0.0.1",
    "backslash": "example.org\\@127.0.0.1",
    "mixed": "0x7f.1",
    "mixed octal": "0177.0x0.1",
    "two trailing dots": "127.0.0.1..",
    "name": "localhost",
    "name with a dot": "localhost.",
    "name below": "hooks.localhost",
    "name, full width": "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "own": own_address(),
    "own in IPv6": f"[::ffff:{own_address()}]",
}


async def _post(url: str, allowed: Allowed, timeout: float = 3) -> Outcome:
    sender = Sender(allowed, timeout=timeout)
    try:
        return await sender.post(url, b"{}", {"webhook-id": "evt_1"})
    finally:
        await sender.close()


async def test_the_canary_sings(canary: Canary) -> None:
    """The test sockets notice a connection to loopback if loopback is allowed.

    Otherwise the other tests, which expect no connection, would pass in any case.
    """
    for host in ("127.0.0.1", "[::1]"):
        await _post(f"http://{host}:{canary.port}/", Allowed(sandbox=True), timeout=2)
        assert canary.seen() > 0, host


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
async def test_no_spelling_makes_a_connection(canary: Canary, host: str) -> None:
    """An address is refused before any packet is sent, over https and http."""
    for scheme in ("https", "http"):
        outcome = await _post(f"{scheme}://{host}:{canary.port}/", Allowed())
        assert (outcome.status, outcome.failure) == (None, "address_refused")
    assert canary.seen() == 0


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
async def test_the_socket_refuses_what_the_text_let_through(
    canary: Canary, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check at the connection refuses a private address, even if the check of the URL lets it pass."""
    monkeypatch.setattr(send, "validate_url", lambda url, _allowed: url)
    for scheme in ("https", "http"):
        outcome = await _post(f"{scheme}://{host}:{canary.port}/", Allowed())
        assert outcome.status is None
    assert canary.seen() == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", own_address()])
async def test_a_public_name_that_leads_here_makes_no_connection(
    canary: Canary, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public host name that resolves to an address of this machine is refused.

    It is refused even if it also resolves to a public address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own = (family, socket.SOCK_STREAM, 6, "", (address, canary.port, 0, 0)[: 4 if ":" in address else 2])
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", canary.port))
    for addresses in ([own], [public, own]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, addresses=addresses, **__: addresses)
        outcome = await _post(f"https://hooks.example.org:{canary.port}/", Allowed())
        assert (outcome.status, outcome.failure) == (None, "address_refused")
    assert canary.seen() == 0


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
async def test_no_spelling_can_be_saved(north: Town, canary: Canary, host: str) -> None:
    """An address that would be refused when a connection is made is already refused when it is saved.

    No DNS request is made for this.
    """
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await register_endpoint(work, NewEndpoint(f"https://{host}:{canary.port}/", ("concern.raised",)))
    assert canary.seen() == 0

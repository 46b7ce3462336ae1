"""Tests that alerts and the mail server's password are sent only to a mail server whose certificate is trusted."""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.core.alerting import MailServer, NotSent, send_mail
from tests.operations.proxy_town import certify

PASSWORD = "of-a-test:with@signs"
URL_PASSWORD = "of-a-test%3Awith%40signs"


@dataclass
class MailLog:
    """What a mail server has received: the commands before TLS, the commands after it, and the messages."""

    port: int = 0
    plain: list[str] = field(default_factory=list)
    encrypted: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def _converse(connection: socket.socket, log: MailLog, tls: ssl.SSLContext, *, offers: bool, from_start: bool) -> None:
    """Answers a client of a mail server, as far as a test needs it (RFC 5321, RFC 3207, RFC 4954)."""
    commands = log.plain
    if from_start:
        connection, commands = tls.wrap_socket(connection, server_side=True), log.encrypted
    with contextlib.ExitStack() as sockets:
        sockets.enter_context(connection)
        lines = connection.makefile("rb")
        connection.sendall(b"220 localhost\r\n")
        while line := lines.readline().decode():
            commands.append(line.strip())
            verb = line[:4].upper()
            answer = b"250 ok\r\n"
            if verb == "EHLO":
                extensions = ["localhost", *(["STARTTLS"] if offers and commands is log.plain else []), "AUTH PLAIN"]
                answer = "".join(
                    f"250{' ' if name is extensions[-1] else '-'}{name}\r\n" for name in extensions
                ).encode()
            elif verb == "STAR":
                connection.sendall(b"220 go on\r\n")
                connection = sockets.enter_context(tls.wrap_socket(connection, server_side=True))
                lines, commands = connection.makefile("rb"), log.encrypted
                continue
            elif verb == "AUTH":
                answer = b"235 welcome\r\n"
            elif verb == "DATA":
                connection.sendall(b"354 go on\r\n")
                message = b""
                while (part := lines.readline()) not in (b".\r\n", b""):
                    message += part
                log.messages.append(message.decode())
            connection.sendall(answer)
            if verb == "QUIT":  # answered by 250 instead of 221, which must not count as a failure of the message
                return


@contextlib.contextmanager
def mail_server(certificate: Path, key: Path, *, offers: bool = True, from_start: bool = False) -> Iterator[MailLog]:
    """Runs a mail server, and yields its log.

    With `from_start`, the server uses TLS from the first byte. Without it, the server offers STARTTLS if `offers` is
    true.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    log = MailLog()
    server = socket.create_server(("127.0.0.1", 0))
    log.port = server.getsockname()[1]

    def serve() -> None:
        with contextlib.suppress(OSError):  # a refused certificate ends the connection, and the end the server
            while True:
                connection, _ = server.accept()
                with contextlib.suppress(OSError):
                    _converse(connection, log, tls, offers=offers, from_start=from_start)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        server.close()
        # A blocked `accept` does not notice the end of its socket.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", log.port), timeout=1).close()


async def _send(scheme: str, port: int, *, user: bool = True) -> None:
    login = f"aimline:{URL_PASSWORD}@" if user else ""
    server = MailServer.parse(f"{scheme}://{login}localhost:{port}", "aimline@example.org")
    await send_mail(server, ("it@example.org",), "Held", "A run is held.")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_trusted_server_gets_the_message_after_tls(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server whose certificate is from an authority in SSL_CERT_FILE gets the message, and everything is
    encrypted.
    """
    certificate, key = certify(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate, key, from_start=scheme == "smtps") as log:
        await _send(scheme, log.port)
    login = base64.b64encode(f"\0aimline\0{PASSWORD}".encode()).decode()
    assert f"AUTH PLAIN {login}" in log.encrypted
    assert [text.split()[0].upper() for text in log.plain] == ([] if scheme == "smtps" else ["EHLO", "STARTTLS"])
    assert "A run is held." in log.messages[0]


@pytest.mark.parametrize("user", [True, False])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("fault", ["untrusted", "wrong name"])
async def test_another_certificate_gets_nothing(
    fault: str, scheme: str, user: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server with an untrusted certificate, or one of another host, gets no login, recipient or message."""
    certificate, key = certify(tmp_path, "localhost" if fault == "untrusted" else "mail.example.org")
    if fault == "wrong name":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate, key, from_start=scheme == "smtps") as log:
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            await _send(scheme, log.port, user=user)
    assert (log.encrypted, log.messages) == ([], [])
    assert {text.split()[0].upper() for text in log.plain} <= {"EHLO", "STARTTLS"}


async def test_a_password_is_never_sent_without_tls(tmp_path: Path) -> None:
    """If a mail server does not offer STARTTLS, no password and no message is sent to it.

    A configuration without a user needs no password, so its message is sent without TLS.
    """
    with mail_server(*certify(tmp_path), offers=False) as log:
        with pytest.raises(NotSent, match="SMTPNotSupportedError"):
            await _send("smtp", log.port)
        assert (log.encrypted, log.messages) == ([], [])
        assert not [text for text in log.plain if text.upper().startswith(("AUTH", "RCPT", "DATA"))]
        await _send("smtp", log.port, user=False)
    assert "A run is held." in log.messages[0]

"""Tests that runs which are held, have failed or are missing are reported to a real mail server and a chat webhook."""

import contextlib
import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from app.access.directory import JobKind, districts_due
from app.core.address import PUBLIC_ONLY, Allowed
from app.core.alerting import MailServer, NotSent, send_mail
from app.core.errors import Invalid
from app.core.ids import format_id
from app.sis.engine.report import Report
from app.sis.scheduler.alerts import AlertSettings, Recipients, save_recipients, send_notices
from app.sis.scheduler.execute import SyncScheduler
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.processes import aimline
from tests.sis.roster_zip import Export, ask, sync
from tests.town import Town

SANDBOX = Allowed(sandbox=True)


@dataclass
class Mailbox:
    """An SMTP server that records what it received. It can refuse a number of messages for a while, and reject
    recipients.
    """

    port: int = 0
    messages: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuses: int = 0
    unknown: str = ""


@contextlib.contextmanager
def _mail_server() -> Iterator[Mailbox]:
    """Runs a mail server that understands as much of RFC 5321 as a client needs, without TLS."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._reply("220 localhost")
            while line := self.rfile.readline().decode():
                verb = line[:4].upper()
                if verb == "DATA":
                    self._reply("354 go on")
                    message = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        message += part
                    if box.refuses:
                        box.refuses -= 1
                        self._reply("451 try again later")
                        continue
                    box.messages.append(message.decode())
                elif verb == "RCPT":
                    box.recipients.append(line.split("<")[1].split(">")[0])
                    if box.recipients[-1] == box.unknown:
                        self._reply("550 no such user")
                        continue
                elif verb == "QUIT":
                    self._reply("221 bye")
                    return
                self._reply("250 ok")

        def _reply(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield box
        server.shutdown()


@contextlib.contextmanager
def _chat(status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """Runs a chat's webhook; yields its address and the list of bodies that it received."""
    bodies: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Suppresses the server's log of requests."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hooks/secret", bodies
        server.shutdown()


def _settings(box: Mailbox, **more: Any) -> AlertSettings:
    server = MailServer.parse(f"smtp://127.0.0.1:{box.port}", "aimline@example.org")
    return AlertSettings(server, **{"allowed": SANDBOX, **more})


async def _send(town: Town, settings: AlertSettings) -> int:
    return await send_notices(settings, town.worker_engine, town.settings.keyring, town.district_id)


async def _states(town: Town) -> list[tuple[str, str, str, int]]:
    sql = "SELECT kind, channel, state, attempts FROM sis_notice WHERE district_id = :district ORDER BY kind, channel"
    rows = await ask(town, sql)
    return [tuple(row) for row in rows]


async def _hold_a_run(town: Town, folder: Path) -> Report:
    export = Export()
    await sync(town, export, folder)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    held = await sync(town, export, folder)
    assert held.state == "held"
    return held


async def test_a_held_run_is_told_by_mail_and_chat_once(north: Town, tmp_path: Path) -> None:
    """A run that is held for approval is reported once, by mail and chat, to the district's own recipients.

    The text states which limit the run exceeds and which command to use, but nothing about a student.
    """
    with _mail_server() as box, _chat() as (address, bodies):
        settings = _settings(box, default=Recipients(("nobody@example.org",), "https://example.org/x"))
        async with north.house() as work:
            await save_recipients(work, ("it@example.org", "night@example.org"), address, SANDBOX)
        held = await _hold_a_run(north, tmp_path)
        assert north.district_id in (await districts_due(north.worker_engine, 1000))[JobKind.NOTICES]
        assert await _send(north, settings) == 2
        assert await _send(north, settings) == 0
    (message,), (body,) = box.messages, bodies
    assert box.recipients == ["it@example.org", "night@example.org"]
    assert f"Subject: Aimline, {north.slug}: the sync of csv is held" in message
    assert list(body) == ["text"]
    command = f"aimline sync report {format_id('run', held.run_id)} --district {north.slug}"
    for notice in (body["text"], message.replace("=\r\n", "")):
        assert command in notice
        assert "would lose over 50% of the students" in notice
        assert north.canary not in notice
        assert "Synthetic" not in notice
    assert await _states(north) == [("held", "chat", "sent", 1), ("held", "email", "sent", 1)]


async def test_a_server_that_fails_is_tried_again(north: Town, tmp_path: Path) -> None:
    """If a mail server asks to try later, or a chat answers 302 or 500, the notice is sent later. No redirect is
    followed.
    """
    with _mail_server() as box, _chat(302) as (address, bodies):
        box.refuses = 1
        settings = _settings(box, default=Recipients(("it@example.org",), address))
        await _hold_a_run(north, tmp_path)
        assert await _send(north, settings) == 2
        assert await _states(north) == [("held", "chat", "pending", 1), ("held", "email", "pending", 1)]
        assert await _send(north, settings) == 0, "each waits"
        await ask(north, "UPDATE sis_notice SET due = now() WHERE district_id = :district")
        assert await _send(north, settings) == 2
        assert (len(box.messages), len(bodies)) == (1, 2)
        for _ in range(4):
            await ask(north, "UPDATE sis_notice SET due = now() WHERE district_id = :district AND state = 'pending'")
            await _send(north, settings)
    assert await _states(north) == [("held", "chat", "failed", 6), ("held", "email", "sent", 2)]
    faults = await ask(north, "SELECT fault FROM sis_notice WHERE district_id = :district AND channel = 'chat'")
    assert [tuple(row) for row in faults] == [("status 302",)]


async def test_an_unknown_recipient_does_not_repeat_the_message_for_the_others(north: Town, tmp_path: Path) -> None:
    """If the mail server rejects one of several recipients, the notice counts as sent and is not sent again.

    Sending fails only if the server rejects all recipients.
    """
    with _mail_server() as box:
        box.unknown = "gone@example.org"
        settings = _settings(box, default=Recipients(("it@example.org", "gone@example.org")))
        await _hold_a_run(north, tmp_path)
        await _send(north, settings)
        assert (await _states(north))[1] == ("held", "email", "sent", 1)
        assert len(box.messages) == 1
        with pytest.raises(NotSent):
            await send_mail(cast(MailServer, settings.server), ["gone@example.org"], "a", "b")


async def test_an_address_with_an_umlaut_does_not_silence_the_others(north: Town, tmp_path: Path) -> None:
    """An address with an umlaut is refused when it is set. If one is stored already, the notice is sent to the other
    addresses only.
    """
    async with north.house() as work:
        for address in ("müller@example.org", "it@schüle.example", "@example.org", "it@", "it", "a@b@c"):
            with pytest.raises(Invalid) as refused:
                await save_recipients(work, ("it@example.org", address), None, SANDBOX)
            assert [one.pointer for one in refused.value.violations] == ["/emails/1"], address
    with _mail_server() as box:
        both = Recipients(("müller@example.org", "it@example.org"))
        await _hold_a_run(north, tmp_path)
        await _send(north, _settings(box, default=both))
        assert (await _states(north))[1] == ("held", "email", "sent", 1)
        assert (len(box.messages), box.recipients) == (1, ["it@example.org"])
    with pytest.raises(ValueError, match="sender"):
        MailServer.parse("smtp://127.0.0.1", "müller@example.org")


async def test_a_failed_and_a_missing_run_are_told(north: Town, tmp_path: Path) -> None:
    """A source that cannot be read, and one without a run for 26 hours, are reported. A dry run that fails is not."""
    broken = tmp_path / "roster.zip"
    broken.write_bytes(b"no zip")
    async with north.unit() as work:
        made = await sources.register_source(
            work, "late", SourceSettings("oneroster-csv", "upload:", cron="0 2 * * *"), SANDBOX
        )
    assert (await sync(north, broken, tmp_path, dry=True)).state == "failed"
    assert await _states(north) == []
    assert (await sync(north, broken, tmp_path)).state == "failed"
    await ask(
        north,
        "UPDATE sis_source SET overdue_at = now() WHERE district_id = :district AND id = :id",
        id=made.source.id,
    )
    scheduler = SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)
    await scheduler._district(north.district_id)
    with _mail_server() as box:
        await _send(north, _settings(box, default=Recipients(("it@example.org",))))
    assert sorted(message.split("Subject: ")[1].split("\r\n")[0] for message in box.messages) == [
        f"Aimline, {north.slug}: the sync of csv has failed",
        f"Aimline, {north.slug}: the sync of late has not run for 26 hours",
    ]
    assert any("roster.zip" in message.replace("=\r\n", "") for message in box.messages), box.messages
    assert {(kind, state) for kind, channel, state, _ in await _states(north) if channel == "chat"} == {
        ("failed", "skipped"),
        ("overdue", "skipped"),
    }


async def test_a_chat_in_a_private_network_is_not_reached(north: Town, tmp_path: Path) -> None:
    """A chat in a private network is refused, when its address is set and when it is used.

    The same networks are allowed as for webhooks.
    """
    with _chat() as (address, bodies), socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with north.house() as work:
            with pytest.raises(Invalid):
                await save_recipients(work, None, address, PUBLIC_ONLY)
            with pytest.raises(Invalid):
                await save_recipients(work, ("two@example.org, three@example.org",), None, PUBLIC_ONLY)
        await _hold_a_run(north, tmp_path)
        await _send(north, AlertSettings(default=Recipients((), address)))
        assert bodies == []
    assert ("held", "chat", "pending", 1) in await _states(north)


async def test_the_command_line_sets_the_recipients(north: Town, tmp_path: Path) -> None:
    """The address of a chat is read from a file and never shown again. An empty value deletes it."""
    secret = tmp_path / "chat.txt"
    secret.write_text("https://chat.example.org/hooks/T0P-SECRET\n")
    named = ("sis", "alerts", "--district", north.slug)
    done = aimline(north.settings, *named, "--email", "it@example.org", "--chat-url-file", str(secret))
    assert (done.returncode, "it@example.org" in done.stdout) == (0, True), done.stderr
    shown = aimline(north.settings, *named, "--json")
    assert json.loads(shown.stdout) == {"emails": ["it@example.org"], "chat_url": "https://chat.example.org/..."}
    sealed = await ask(north, "SELECT chat_url_sealed FROM sis_recipients WHERE district_id = :district")
    assert "T0P-SECRET" not in sealed[0][0]
    cleared = aimline(north.settings, *named, "--email", "", "--chat-url-file", "", "--json")
    assert json.loads(cleared.stdout) == {"emails": [], "chat_url": None}

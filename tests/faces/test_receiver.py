"""Tests the sandbox's webhook receiver as a real process: what it accepts, refuses and records."""

import base64
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.processes import TRUSTS_NOBODY

SECRET = "whsec_" + base64.b64encode(b"a key made up for this test only").decode()
OTHER = "whsec_" + base64.b64encode(b"another key of the same test too").decode()
BODY = '{"type":"response.stopped","timestamp":"2026-11-21T23:00:00Z","data":{"id":"sup_1"}}'


@contextmanager
def receiver(folder: Path, *options: str) -> Iterator[httpx.Client]:
    """Runs the receiver during the block, and yields a client of its address. It ends when its standard input is
    closed.
    """
    command = [sys.executable, "-m", "app.sandbox.receiver", "--secret-file", str(folder / "secret")]
    command += ["--log", str(folder / "log.jsonl"), "--until-stdin-closes", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin
        assert process.stdout
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            with httpx.Client(base_url=address, trust_env=False, verify=TRUSTS_NOBODY, timeout=120) as client:
                yield client
        finally:
            process.stdin.close()
            code = process.wait(timeout=120)
    assert code == 0


def signed(body: str = BODY, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    """Returns the headers of a signed webhook message, according to Standard Webhooks."""
    at, message = at or datetime.now(UTC), f"msg_{secrets.token_hex(6)}"
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, at, body),
        "content-type": "application/json",
    }


def test_a_good_signature_is_204_and_all_else_401(tmp_path: Path) -> None:
    """Only a valid signature is accepted; a changed, old or malformed message gives 401."""
    with receiver(tmp_path) as client:
        assert client.post("/", content=BODY, headers=signed()).status_code == 401, "no secret written yet"
        (tmp_path / "secret").write_text(SECRET + "\n")
        good = signed()
        assert client.post("/", content=BODY, headers=good).status_code == 204
        assert client.post("/hooks/one", content=BODY, headers=signed()).status_code == 204
        assert client.post("/", content=BODY).status_code == 401
        assert client.post("/", content=BODY + " ", headers=signed()).status_code == 401
        assert client.post("/", content=BODY, headers=signed(secret=OTHER)).status_code == 401
        old = signed(at=datetime.now(UTC) - timedelta(minutes=6))
        assert client.post("/", content=BODY, headers=old).status_code == 401
        garbled = signed() | {"webhook-signature": "nonsense"}
        assert client.post("/", content=BODY, headers=garbled).status_code == 401
        assert client.post("/", content=b"\xff\xfe", headers=signed()).status_code == 401
        (tmp_path / "secret").write_text(f"{OTHER}\n{SECRET}\n")
        assert client.post("/", content=BODY, headers=signed()).status_code == 204, "two live secrets"
        received = client.get("/received").json()
    assert [entry["verified"] for entry in received] == [False, True, True, *[False] * 6, True]
    assert received[1]["webhook-id"] == good["webhook-id"]
    assert received[1]["type"] == "response.stopped"
    assert received[1]["size"] == len(BODY)
    assert received[1]["body"] == json.loads(BODY)
    assert datetime.fromisoformat(received[1]["received_at"]).tzinfo
    assert received[8]["body"] is None
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == received


def test_a_poll_waits_for_what_is_new_and_misses_nothing(tmp_path: Path) -> None:
    """A request with `wait` is answered as soon as the next webhook arrives, and no webhook is missed."""
    (tmp_path / "secret").write_text(SECRET)
    with receiver(tmp_path) as client:
        began = time.monotonic()
        assert client.get("/received", params={"wait": 0.2}).json() == []
        assert time.monotonic() - began >= 0.2
        client.post("/", content=BODY, headers=signed())
        assert len(client.get("/received", params={"wait": 15, "after": 0}).json()) == 1, "already there: at once"
        answers: list[list[object]] = []
        poll = threading.Thread(
            target=lambda: answers.append(client.get("/received", params={"wait": 15, "after": 1}).json())
        )
        poll.start()
        client.post("/", content=BODY, headers=signed())
        poll.join(timeout=120)
        assert [len(answer) for answer in answers] == [1]
        assert client.get("/received", params={"after": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--fail-first", "2"], [500, 500, 204]),
        (["--fail-first", "1", "--status", "503"], [503, 204, 204]),
        (["--status", "410"], [410, 410, 410]),
    ],
)
def test_it_fails_as_told(tmp_path: Path, options: list[str], answers: list[int]) -> None:
    """The sandbox's receiver fails as requested, so that retries can be tried, and records what arrived."""
    (tmp_path / "secret").write_text(SECRET)
    with receiver(tmp_path, *options) as client:
        assert [client.post("/", content=BODY, headers=signed()).status_code for _ in answers] == answers
        received = client.get("/received").json()
    assert [entry["answered"] for entry in received] == answers
    assert all(entry["verified"] for entry in received)


def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    """If its port is in use, the example receiver ends with a sentence and without a traceback."""
    with receiver(tmp_path) as client:
        command = [sys.executable, "-m", "app.sandbox.receiver", "--secret-file", "none", "--port"]
        ended = subprocess.run([*command, str(client.base_url.port)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "pass another --port" in ended.stderr
    assert "Traceback" not in ended.stderr

"""Tests that a stuck process is replaced, that all processes end in time, and that a failed start gives its reason."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from app.core.db import UnfitServer, open_engine
from app.core.log import FIELDS
from app.serving.process import ServedApp, Watch
from app.settings import Settings
from tests.processes import REPOSITORY, TRUSTS_NOBODY, aimline, environment, free_port

pytestmark = pytest.mark.long

NOWHERE = "postgresql://api:secret@127.0.0.1:1/none"


@contextmanager
def served(
    settings: Settings, *command: str, log: int | IO[str] = subprocess.DEVNULL, **more: str
) -> Iterator[subprocess.Popen[str]]:
    """Runs the product's server until the `with` block ends; its output goes to `log`."""
    serving = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=environment(settings, **more),
        stdout=log,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield serving
    finally:
        with suppress(ProcessLookupError):
            os.killpg(serving.pid, signal.SIGKILL)
        serving.wait()
        if serving.stderr:
            serving.stderr.close()


def ask(port: int, path: str, timeout: float = 1.0) -> Any:
    """Returns the answer to a request on a new connection, or None if it does not arrive in time."""
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=timeout, trust_env=False, verify=TRUSTS_NOBODY)
    return None


def pids(port: int, seconds: float, count: int, without: frozenset[int] = frozenset()) -> set[int]:
    """Waits until `count` processes, other than the excluded ones, have answered on the port; returns their ids."""
    seen: set[int] = set()
    until = time.monotonic() + seconds
    while len(seen) < count and time.monotonic() < until:
        answer = ask(port, "/pid")
        if answer is not None and answer.status_code == 200 and answer.json() not in without:
            seen.add(answer.json())
    return seen


def stick(port: int, stuck: Path) -> int:
    """Blocks the event loop of a process, and returns the process's id once it is blocked."""
    deadline = time.monotonic() + 300
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"GET /stick HTTP/1.1\r\nHost: x\r\n\r\n")
        while not (stuck.exists() and stuck.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return int(stuck.read_text())


@pytest.mark.parametrize("how", ["stopped", "stuck"])
def test_a_process_that_answers_no_more_is_replaced(settings: Settings, tmp_path: Path, how: str) -> None:
    """A process that is stopped or blocked is replaced, and meanwhile the other process answers."""
    port, log, stuck = free_port(), tmp_path / "log", tmp_path / "stuck"
    command = ("tests.serving.stuck_app", str(port), "2")
    with log.open("w") as file, served(settings, *command, log=file, STUCK_FILE=str(stuck)) as serving:
        first = pids(port, 240, 2)
        assert len(first) == 2
        if how == "stopped":
            gone = min(first)
            os.kill(gone, signal.SIGSTOP)
        else:
            gone = stick(port, stuck)
        assert len(pids(port, 240, 2, frozenset({gone}))) == 2
        with pytest.raises(ProcessLookupError):
            os.kill(gone, 0)
        serving.terminate()
        assert serving.wait(40) == 0
    # The parent logs as its processes do: a collector reads every line.
    replaced = [json.loads(line) for line in log.read_text().splitlines() if "process.replaced" in line]
    assert gone in {line["pid"] for line in replaced}
    assert all(set(FIELDS) <= line.keys() for line in replaced)


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux lists the children of a process in a file.")
def test_suspended_processes_do_not_delay_the_end(settings: Settings, tmp_path: Path) -> None:
    """The supervisor ends within 30 s of SIGTERM, even if the signal comes while it waits for a suspended process to
    answer.

    Earlier, it first waited 5 s for each suspended process, and the time limit began only then.
    """
    with served(settings, "tests.serving.stuck_app", str(free_port()), "2", STUCK_FILE=str(tmp_path / "s")) as serving:
        deadline = time.monotonic() + 300
        started: list[int] = []
        while len(started) < 2 and time.monotonic() < deadline:
            children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
            started = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            time.sleep(0.05)
        for pid in started:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2)
        asked_at = time.monotonic()
        serving.terminate()
        serving.wait(60)
        assert time.monotonic() - asked_at < 30


def test_a_process_that_starts_slowly_is_not_replaced(settings: Settings, tmp_path: Path) -> None:
    """A process that sends no signs of life while it loads the app on a busy machine is not replaced.

    Otherwise it could never start.
    """
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as file, served(settings, "tests.serving.slow_app", str(port), log=file) as serving:
        assert len(pids(port, 60, 2)) == 2
        serving.terminate()
        assert serving.wait(40) == 0
    assert "process.replaced" not in log.read_text()


def test_a_process_ends_in_time_whatever_holds_it(settings: Settings, tmp_path: Path) -> None:
    """SIGTERM ends a process within 30 s, even if its event loop is blocked."""
    port = free_port()
    stuck = tmp_path / "stuck"
    with served(settings, "tests.serving.stuck_app", str(port), "1", STUCK_FILE=str(stuck)) as serving:
        assert len(pids(port, 300, 1)) == 1
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            stick(port, stuck)
            serving.terminate()
            assert serving.wait(30) == 1
        log = serving.stderr.read() if serving.stderr else ""
    assert "stuck_app.py" in log  # where it was held


def test_a_watch_tells_a_held_loop_from_a_stopped_machine() -> None:
    """The watching thread ends a process if its event loop is blocked, but not if the process runs normally."""
    ended: list[str] = []
    watch = Watch(2, ended.append)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        watch.turn()
        time.sleep(0.05)
    assert ended == []
    deadline = time.monotonic() + 120
    while not ended and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended == ["process.stuck"]
    closing = threading.Event()
    last = Watch(60, lambda event: closing.set() if event == "process.does_not_close" else None)
    last.end_within(0.1)
    assert closing.wait(120)


async def test_a_start_that_fails_says_one_sentence(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing start logs one line with the reason and no stack trace."""
    engine = open_engine(settings.url_of("api"), name="test")

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
        raise UnfitServer("The database went away.\nMore of it.")

    answers: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        answers.append(message)

    await ServedApp(app, engine)({"type": "lifespan"}, receive, send)
    await engine.dispose()
    assert answers == [{"type": "lifespan.startup.failed", "message": ""}]
    assert capsys.readouterr().err == "The database went away.\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_database_goes_away_at_start_up(settings: Settings, workers: str) -> None:
    """If the database becomes unreachable while the server starts, the server exits with 1 and prints one sentence."""
    with served(settings, "tests.serving.stuck_app", "0", workers, AIMLINE_API_DATABASE_URL=NOWHERE) as serving:
        _, output = serving.communicate(timeout=180)
    assert serving.returncode == 1
    lines = [line for line in output.splitlines() if line]
    assert lines
    assert set(lines) == {lines[0]}
    assert lines[0].startswith("The database is out of reach as api: ")


async def test_a_server_that_hangs_up_is_out_of_reach(settings: Settings) -> None:
    """If the database drops connections, `aimline serve` ends with one sentence."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        url = f"postgresql://api:secret@127.0.0.1:{port}/none"
        done = await asyncio.to_thread(aimline, settings.model_copy(update={"database_url": url}), "serve")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "out of reach" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere such a port is only free when it is chosen.")
def test_a_free_port_is_kept_for_the_process_that_names_it() -> None:
    """A port that the tests give to one process is not taken by another program that asks for any free port."""
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    socket.create_server(("127.0.0.1", port)).close()

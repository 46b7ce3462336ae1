"""Runs all of Aimline on one machine to try it: the database, the api, the worker and the demonstration.

It is never used in production. `python3 dev.py run` replaces itself by this program. Everything is stored in one
folder, `.aimline` by default, so that a later start continues with the same district.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from app.core.child import end_with_parent
from app.core.crypto import generate_key
from app.core.embedded import EmbeddedPostgres
from app.core.postgres_wheel import EmbeddedPostgresError
from app.sandbox.database import recreate_database
from app.sandbox.discovery import FOLDER, locked, published
from app.sandbox.process import REPOSITORY, STOP_LIMIT, PlaygroundError, Process, is_ready

HOST = "127.0.0.1"
READY_LIMIT = 60.0  # seconds until the api must be ready


class Stopped(BaseException):
    """Raised when the user stops the playground, by Ctrl-C, SIGTERM, or closing the terminal."""


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="dev.py run", description="Try Aimline on this machine.")
    parser.add_argument("--once", action="store_true", help="end after the story, with its exit code")
    parser.add_argument("--roster", type=Path, metavar="FILE.zip", help="a OneRoster CSV zip of your own")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / FOLDER, help="where the data are kept")
    parser.add_argument("--fresh", action="store_true", help="delete what was kept, and start again")
    options = parser.parse_args()
    if options.roster is not None and not options.roster.is_file():
        parser.error(f"there is no file {options.roster}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        sys.exit(play(options.folder.resolve(), options.port, options.roster, once=options.once, fresh=options.fresh))
    except (PlaygroundError, EmbeddedPostgresError) as error:
        sys.exit(str(error))
    except PermissionError as error:
        sys.exit(f"No permission for {error.filename}; give it to this user, or use --folder.")
    except OSError as error:
        sys.exit(f"{error.filename or 'The folder'}: {error.strerror}. Use another --folder.")
    except Stopped:
        sys.exit(130)


def play(folder: Path, port: int, roster: Path | None, *, once: bool, fresh: bool) -> int:
    """Starts all processes, runs the demonstration, and returns the demonstration's exit code.

    Unless `once` is set, the playground then serves until the user stops it.
    """
    port = _free_port(port)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as resources:
        resources.enter_context(locked(folder))
        print("Starting PostgreSQL, api and worker ...", flush=True)
        environment = _environment(folder, port, resources, fresh=fresh)
        _migrate(folder, environment)
        api = Process("api", folder, ["app", "serve", "--host", HOST, "--port", str(port)], environment)
        resources.callback(api.stop)
        worker = Process("worker", folder, ["app", "worker"], environment)
        resources.callback(worker.stop)
        _wait_until_ready(port, [api, worker])
        resources.enter_context(published(folder, environment))
        code = _demonstrate(_arguments(folder, port, roster, once=once), environment, [api, worker], resources)
        if not once:
            if code:
                print(f"The demonstration ended with code {code}. The logs are in {folder / 'log'}.", flush=True)
            print(f"\nAimline serves at http://{HOST}:{port}. Ctrl-C stops it; the next start continues.", flush=True)
            with contextlib.suppress(Stopped):
                while True:
                    _check([api, worker])
                    time.sleep(0.3)
            print("\nStopping ...", flush=True)
        _ignore_signals()
    return code


def _environment(folder: Path, port: int, resources: contextlib.ExitStack, *, fresh: bool) -> dict[str, str]:
    """Returns the environment variables for the playground's processes.

    Starts the embedded database server first, unless AIMLINE_DATABASE_URL names another server. `fresh` begins a new
    district; on the embedded server, it also empties the database.
    """
    if fresh:
        for file in folder.glob("district*.json"):
            file.unlink()
    environment = os.environ | {
        "AIMLINE_SANDBOX": "1",
        "AIMLINE_TOKEN_SECONDS": "3600",
        "AIMLINE_BASE_URL": f"http://{HOST}:{port}",
    }
    environment["PYTHONUNBUFFERED"] = "1"
    key = _key_file(folder)
    if environment.get("AIMLINE_DATABASE_URL"):
        if not environment.get("AIMLINE_KEY"):
            environment.setdefault("AIMLINE_KEY_FILE", str(key))
        return environment
    for name in ("AIMLINE_KEY", "AIMLINE_API_DATABASE_URL", "AIMLINE_WORKER_DATABASE_URL"):
        environment.pop(name, None)  # these settings belong to another server than the embedded one
    postgres = resources.enter_context(EmbeddedPostgres(folder))
    if fresh:
        recreate_database(postgres)
    return environment | {"AIMLINE_DATABASE_URL": postgres.url(), "AIMLINE_KEY_FILE": str(key)}


def _key_file(folder: Path) -> Path:
    """Returns the path of the file with the key-encryption key, which the first call creates."""
    path = folder / "key"
    if not path.exists():
        unfinished = folder / "key.new"
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(generate_key("k1") + "\n")
        unfinished.rename(path)
    return path


def _migrate(folder: Path, environment: dict[str, str]) -> None:
    migration = Process("migration", folder, ["app", "migrate"], environment)
    try:
        if migration.process.wait() != 0:
            try:
                migration.check()
            except PlaygroundError as error:
                raise PlaygroundError(
                    f"{error}\nTo delete the playground's data and start again, add --fresh."
                ) from None
    except Stopped:
        migration.stop()
        raise


def _wait_until_ready(port: int, processes: list[Process]) -> None:
    deadline = time.monotonic() + READY_LIMIT
    while not is_ready(port):
        _check(processes)
        if time.monotonic() > deadline:
            raise PlaygroundError(f"The api is not ready after {READY_LIMIT:.0f} s; see {processes[0].log}.")
        time.sleep(0.05)


def _arguments(folder: Path, port: int, roster: Path | None, *, once: bool) -> list[str]:
    roster_arguments = [] if roster is None else ["--roster", str(roster.resolve())]
    arguments = ["--base-url", f"http://{HOST}:{port}", "--folder", str(folder), *roster_arguments]
    return [*arguments, *(["--once"] if once else [])]


def _demonstrate(
    arguments: list[str],
    environment: dict[str, str],
    processes: list[Process],
    resources: contextlib.ExitStack,
) -> int:
    """Runs the demonstration as a separate process on this terminal, and returns its exit code."""
    demonstration = subprocess.Popen(
        [sys.executable, "-m", "app.sandbox.demonstration", *arguments],
        cwd=REPOSITORY,
        env=environment,
        preexec_fn=end_with_parent(),
    )
    resources.callback(_end, demonstration)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return demonstration.wait(0.2)
        _check(processes)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
        process.kill()
        process.wait()


def _check(processes: list[Process]) -> None:
    for child in processes:
        child.check()


def _free_port(port: int) -> int:
    """Returns the port if it is free, or any free port for 0; raises `PlaygroundError` if the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a port"
            raise PlaygroundError(
                f"Port {port} cannot be used ({why}). Choose another with --port N, or a free one with --port 0."
            ) from None
        chosen: int = probe.getsockname()[1]
        return chosen


def _stop(number: int, frame: object) -> NoReturn:
    _ignore_signals()
    raise Stopped


def _ignore_signals() -> None:
    """Ignores further signals, so that a second Ctrl-C does not interrupt the shutdown."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()

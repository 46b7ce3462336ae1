"""Starts and stops an embedded PostgreSQL server for laptops and tests. The server never listens on TCP."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self
from urllib.parse import quote

from app.core.child import processes_in, unprivileged, user_outside
from app.core.postgres_wheel import EmbeddedPostgresError, binary, environment, run_program

SUPERUSER = "postgres"
START_LIMIT = 60.0  # seconds for a start; recovery after a crash may take a while
RETRY_LIMIT = 10.0  # seconds to stop an orphan or to retry a start; a killed server may remain for a moment
TRANSIENT_MESSAGES = ("lock file", "shared memory")  # the server's log messages while it recovers

BOOTSTRAP = r"""
SELECT 'CREATE ROLE owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'owner') \gexec
ALTER ROLE owner LOGIN CREATEROLE CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD '{password}';
SELECT 'CREATE DATABASE aimline OWNER owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'aimline') \gexec
"""


class EmbeddedPostgres:
    """One PostgreSQL server in one folder, which contains `pgdata/`, `*.password` (mode 0600) and `postgres.log`.

    `settings` are PostgreSQL's own settings, e.g. `{"fsync": "off"}`. On Linux the server ends with the thread that
    called `start()`, so call it from a thread that lives as long as the server should.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "postgres.log"
        self._settings = settings
        self._pgdata = self.folder / "pgdata"
        self._socket = _socket_folder(self.folder)
        self._server: subprocess.Popen[bytes] | None = None
        self._lock_file: IO[str] | None = None

    def start(self) -> None:
        """Starts the server; the first start creates the cluster, the role `owner` and the database `aimline`."""
        if self._server is not None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_folder()
            self._prepare()
            self._stop_orphan()
            self._launch()
            self._bootstrap()
        except PermissionError as error:
            self.stop()
            reason = f"{error.filename} belongs to another user. Change its owner, or use another folder."
            raise EmbeddedPostgresError(reason) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server in PostgreSQL's fast mode: open transactions are rolled back, committed data is kept."""
        server, self._server = self._server, None
        for signal_number, timeout in ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if server is None or server.poll() is not None:
                break
            server.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout)
        if self._lock_file is not None:
            with contextlib.suppress(OSError):
                self._socket.rmdir()
            self._lock_file.close()
            self._lock_file = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, role: str = "owner", database: str = "aimline") -> str:
        """Returns a connection URL over the Unix socket, for libpq, asyncpg and (with another scheme) SQLAlchemy."""
        if role not in ("owner", SUPERUSER):
            raise EmbeddedPostgresError(f"The embedded server keeps no password for the role {role}.")
        address = f"host={quote(str(self._socket))}&port=5432"
        return f"postgresql://{role}:{self._password(role)}@/{database}?{address}"

    def _lock_folder(self) -> None:
        """Locks the folder for this process; the kernel releases the lock when the process ends."""
        lock_file = (self.folder / "postgres.lock").open("w")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock_file.close()
            reason = f"Another process runs the PostgreSQL in {self.folder}; stop that one first."
            raise EmbeddedPostgresError(reason) from None
        self._lock_file = lock_file

    def _prepare(self) -> None:
        """Creates the socket folder and the cluster, and gives both to the user who runs the server."""
        self._socket.mkdir(mode=0o700, exist_ok=True)
        status = self._socket.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), user_outside()):
            raise EmbeddedPostgresError(f"{self._socket} was not created by Aimline. Remove it and start again.")
        if self.log.exists() and self.log.stat().st_size > 5_000_000:
            self.log.replace(self.log.with_suffix(".log.old"))
        if self._pgdata.exists() and not (self.folder / f"{SUPERUSER}.password").exists():
            raise EmbeddedPostgresError(f"{SUPERUSER}.password is missing from {self.folder}. Restore it.")
        self._password(SUPERUSER)
        self._change_owner()
        if not self._pgdata.exists():
            self._make_cluster()

    def _make_cluster(self) -> None:
        unfinished = self.folder / "pgdata.new"  # renamed when complete: an interrupted initdb leaves no cluster
        shutil.rmtree(unfinished, ignore_errors=True)  # usually there is none
        locale = "C.UTF-8" if sys.platform == "linux" else "C"  # macOS may lack C.UTF-8; the builtin provider has it
        arguments = [f"--pgdata={unfinished}", f"--username={SUPERUSER}", "--auth=scram-sha-256"]
        arguments += [f"--pwfile={self.folder / SUPERUSER}.password", "--no-instructions", "--encoding=UTF8"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={locale}"]
        if self._settings.get("fsync") == "off":
            arguments.append("--no-sync")
        run_program("initdb", *arguments)
        unfinished.rename(self._pgdata)

    def _change_owner(self) -> None:
        """Gives the server's files to the user who runs the server, if this process runs as root."""
        if os.geteuid() != 0:
            return
        owner = user_outside()
        for path in (self.folder, self._socket, self.folder / f"{SUPERUSER}.password"):
            os.chown(path, owner, -1)
        if self._pgdata.exists() and self._pgdata.stat().st_uid != owner:
            for path in (self._pgdata, *self._pgdata.rglob("*")):
                os.chown(path, owner, -1, follow_symlinks=False)

    def _stop_orphan(self) -> None:
        """Stops the server of an earlier process if the server is still running in this folder."""
        server = int((self._pid_file() or ["0"])[0])
        deadline = time.monotonic() + RETRY_LIMIT
        while self._pgdata.exists() and (alive := processes_in(self._pgdata, server)):
            is_patient = time.monotonic() < deadline
            for pid in [server] if server in alive else alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if pid == server and is_patient else signal.SIGQUIT)
            time.sleep(0.05)

    def _launch(self) -> None:
        """Starts `postgres` as a direct child and waits until it accepts connections."""
        fixed = {"listen_addresses": "", "port": "5432", "cluster_name": "aimline"}
        fixed |= {"unix_socket_directories": str(self._socket), "unix_socket_permissions": "0700"}
        fixed |= {"timezone": "UTC", "log_timezone": "UTC"}
        # Errors are logged without their DETAIL and CONTEXT, which quote rows.
        quiet = {"log_error_verbosity": "terse"}
        options = [f"--{name}={value}" for name, value in {**quiet, **self._settings, **fixed}.items()]
        deadline = time.monotonic() + RETRY_LIMIT
        while True:
            log_size = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as log:
                self._server = subprocess.Popen(
                    [binary("postgres"), "-D", self._pgdata, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment(),
                    start_new_session=True,  # Ctrl-C must reach only this process, which stops the server at its end
                    **unprivileged(signal.SIGINT),
                )
            if self._ready(self._server):
                return
            log_tail = _tail(self.log, log_size)
            if time.monotonic() > deadline or not any(message in log_tail for message in TRANSIENT_MESSAGES):
                raise EmbeddedPostgresError(f"The embedded PostgreSQL did not start; {self.log} says:\n{log_tail}")
            time.sleep(0.2)

    def _ready(self, server: subprocess.Popen[bytes]) -> bool:
        """Returns whether the server accepts connections, which it reports in the eighth line of postmaster.pid."""
        deadline = time.monotonic() + START_LIMIT
        while server.poll() is None and time.monotonic() < deadline:
            lines = self._pid_file()
            if len(lines) > 7 and lines[0] == str(server.pid) and lines[7].startswith("ready"):
                return True
            time.sleep(0.01)
        return False

    def _bootstrap(self) -> None:
        """Creates the role `owner` and the database `aimline` if they do not exist.

        Runs at each start, because the first start may have been interrupted.
        """
        connection_options = [f"--host={self._socket}", f"--username={SUPERUSER}", "--dbname=postgres"]
        script = BOOTSTRAP.format(password=self._password("owner"))
        variables = {"PGPASSWORD": self._password(SUPERUSER)}
        run_program(
            "psql", *connection_options, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", stdin=script, **variables
        )

    def _pid_file(self) -> list[str]:
        try:
            return (self._pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _password(self, role: str) -> str:
        """Returns the role's random password, which the first call generates and stores in the folder."""
        path = self.folder / f"{role}.password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(24))
        return path.read_text()


def _socket_folder(folder: Path) -> Path:
    """Returns the folder for a server's Unix socket.

    It is derived from the server's folder and is short, because macOS limits a socket's path to 104 bytes.
    """
    name = f"aimline-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    temporary_folder = tempfile.gettempdir()
    return Path(temporary_folder if len(os.fsencode(temporary_folder)) < 50 else "/tmp", name)  # noqa: S108 - mode 0700, owner checked


def _tail(log: Path, offset: int) -> str:
    """Returns the last lines that were written to the log after an offset."""
    with log.open("rb") as file:
        file.seek(offset)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-8:])

"""Starts and stops an embedded PostgreSQL for laptops and tests. Never listens on TCP, never knows a table.

`core.postgres_wheel` has its programs, `core.child` how they are kept from being root.
"""

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
START_LIMIT = 60.0  # seconds: recovery after a crash may take some
RETRY_LIMIT = 10.0  # seconds: a killed server stays a zombie, or its backends live on, for a moment
PASSING = ("lock file", "shared memory")  # what the log says meanwhile

BOOTSTRAP = r"""
SELECT 'CREATE ROLE owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'owner') \gexec
ALTER ROLE owner LOGIN CREATEROLE CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD '{password}';
SELECT 'CREATE DATABASE aimline OWNER owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'aimline') \gexec
"""


class EmbeddedPostgres:
    """One server in one folder: `pgdata/`, `*.password` (0600) and `postgres.log`.

    `settings` are PostgreSQL's own names and values, e.g. `{"fsync": "off"}`. On Linux the server ends with
    the thread that called `start()`: call it from one that lives as long as the server should.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "postgres.log"
        self._settings = settings
        self._pgdata = self.folder / "pgdata"
        self._socket = _socket_folder(self.folder)
        self._server: subprocess.Popen[bytes] | None = None
        self._held: IO[str] | None = None

    def start(self) -> None:
        """Start the server; the first time make the cluster, the role `owner` and the database `aimline`."""
        if self._server is not None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
            self._prepare()
            self._stop_orphan()
            self._launch()
            self._bootstrap()
        except PermissionError as refused:
            self.stop()
            why = f"{refused.filename} belongs to another user; give it to this one, or use another folder."
            raise EmbeddedPostgresError(why) from refused
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, what was committed stays."""
        server, self._server = self._server, None
        for number, patience in ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if server is None or server.poll() is not None:
                break
            server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience)
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._socket.rmdir()
            self._held.close()
            self._held = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, role: str = "owner", database: str = "aimline") -> str:
        """A connection string over the socket, as libpq, asyncpg and (scheme apart) SQLAlchemy read it."""
        if role not in ("owner", SUPERUSER):
            raise EmbeddedPostgresError(f"The embedded server keeps no password for the role {role}.")
        where = f"host={quote(str(self._socket))}&port=5432"
        return f"postgresql://{role}:{self._password(role)}@/{database}?{where}"

    def _hold(self) -> None:
        """One process at a time has this folder; the kernel lets go of it when that process ends."""
        held = (self.folder / "postgres.lock").open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            why = f"Another process runs the PostgreSQL in {self.folder}; stop that one first."
            raise EmbeddedPostgresError(why) from None
        self._held = held

    def _prepare(self) -> None:
        """The socket's folder, the cluster, and both given to the user that the server runs as."""
        self._socket.mkdir(mode=0o700, exist_ok=True)
        found = self._socket.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), user_outside()):
            raise EmbeddedPostgresError(f"{self._socket} was not made by Aimline; remove it and start again.")
        if self.log.exists() and self.log.stat().st_size > 5_000_000:
            self.log.replace(self.log.with_suffix(".log.old"))
        if self._pgdata.exists() and not (self.folder / f"{SUPERUSER}.password").exists():
            raise EmbeddedPostgresError(f"{SUPERUSER}.password is gone from {self.folder}; put it back.")
        self._password(SUPERUSER)
        self._give_away()
        if not self._pgdata.exists():
            self._make_cluster()

    def _make_cluster(self) -> None:
        unfinished = self.folder / "pgdata.new"  # renamed when whole: an interrupted initdb leaves no cluster
        shutil.rmtree(unfinished, ignore_errors=True)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"  # macOS may not know it; the provider does
        arguments = [f"--pgdata={unfinished}", f"--username={SUPERUSER}", "--auth=scram-sha-256"]
        arguments += [f"--pwfile={self.folder / SUPERUSER}.password", "--no-instructions", "--encoding=UTF8"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={locale}"]
        if self._settings.get("fsync") == "off":
            arguments.append("--no-sync")
        run_program("initdb", *arguments)
        unfinished.rename(self._pgdata)

    def _give_away(self) -> None:
        """As root: what the server opens is to belong to the user that it runs as."""
        if os.geteuid() != 0:
            return
        owner = user_outside()
        for path in (self.folder, self._socket, self.folder / f"{SUPERUSER}.password"):
            os.chown(path, owner, -1)
        if self._pgdata.exists() and self._pgdata.stat().st_uid != owner:
            for path in (self._pgdata, *self._pgdata.rglob("*")):
                os.chown(path, owner, -1, follow_symlinks=False)

    def _stop_orphan(self) -> None:
        """A server that outlived its starter is stopped, and so is a backend at work that outlived its server."""
        server = int((self._pid_file() or ["0"])[0])
        deadline = time.monotonic() + RETRY_LIMIT
        while self._pgdata.exists() and (alive := processes_in(self._pgdata, server)):
            patient = time.monotonic() < deadline
            for pid in [server] if server in alive else alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if pid == server and patient else signal.SIGQUIT)
            time.sleep(0.05)

    def _launch(self) -> None:
        """Start `postgres` as a direct child and wait until it takes connections."""
        fixed = {"listen_addresses": "", "port": "5432", "cluster_name": "aimline"}
        fixed |= {"unix_socket_directories": str(self._socket), "unix_socket_permissions": "0700"}
        fixed |= {"timezone": "UTC", "log_timezone": "UTC"}
        # Errors are logged without their DETAIL and CONTEXT, which quote rows.
        quiet = {"log_error_verbosity": "terse"}
        options = [f"--{name}={value}" for name, value in {**quiet, **self._settings, **fixed}.items()]
        deadline = time.monotonic() + RETRY_LIMIT
        while True:
            began = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as log:
                self._server = subprocess.Popen(
                    [binary("postgres"), "-D", self._pgdata, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment(),
                    start_new_session=True,  # Ctrl-C is for us; we stop the server when our work is done
                    **unprivileged(signal.SIGINT),
                )
            if self._ready(self._server):
                return
            said = _tail(self.log, began)
            if time.monotonic() > deadline or not any(words in said for words in PASSING):
                raise EmbeddedPostgresError(f"The embedded PostgreSQL did not start; {self.log} says:\n{said}")
            time.sleep(0.2)

    def _ready(self, server: subprocess.Popen[bytes]) -> bool:
        """Whether the server came up; it says so in the eighth line of postmaster.pid."""
        deadline = time.monotonic() + START_LIMIT
        while server.poll() is None and time.monotonic() < deadline:
            lines = self._pid_file()
            if len(lines) > 7 and lines[0] == str(server.pid) and lines[7].startswith("ready"):
                return True
            time.sleep(0.01)
        return False

    def _bootstrap(self) -> None:
        """The role and the database, if they are not there: asked each time, as a first start may be cut."""
        where = [f"--host={self._socket}", f"--username={SUPERUSER}", "--dbname=postgres"]
        script = BOOTSTRAP.format(password=self._password("owner"))
        variables = {"PGPASSWORD": self._password(SUPERUSER)}
        run_program("psql", *where, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", said=script, **variables)

    def _pid_file(self) -> list[str]:
        try:
            return (self._pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _password(self, role: str) -> str:
        """The role's random password, made and kept in the folder the first time."""
        path = self.folder / f"{role}.password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(24))
        return path.read_text()


def _socket_folder(folder: Path) -> Path:
    """A folder named by the server's own, with a path short enough for a socket (104 bytes on macOS)."""
    name = f"aimline-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    place = tempfile.gettempdir()
    return Path(place if len(os.fsencode(place)) < 50 else "/tmp", name)  # noqa: S108 - 0700, owner checked


def _tail(log: Path, began: int) -> str:
    """The last lines that were written since then."""
    with log.open("rb") as file:
        file.seek(began)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-8:])

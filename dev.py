#!/usr/bin/env python3
"""Installs Aimline in .venv and starts it; needs only Python 3.11 or newer, and uses your own package index.

python3 dev.py run [--once] [--fresh] [--roster FILE.zip] [--port N] [--folder DIR]
                             try Aimline: database, api, worker, and a district that later starts continue
python3 dev.py test ...      the tests except the long ones, in two processes; with arguments, pytest with these
python3 dev.py lock          write requirements.lock and requirements-dev.lock from pyproject.toml (needs uv)
python3 dev.py aimline ...   Aimline's own command line, e.g. `aimline --help`
python3 dev.py COMMAND ...   any other program in .venv
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python gets a sentence instead of a traceback
    sys.exit("Aimline needs Python 3.11 or newer; this is Python " + sys.version.split()[0] + ".")

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

REPO = Path(__file__).resolve().parent
VENV = REPO / ".venv"
LOCK = REPO / "requirements-dev.lock"  # the packages of requirements.lock, and the tools for development
STAMP = VENV / "aimline.stamp"  # written last; it identifies the installed packages
HOLD = REPO / ".venv.lock"  # locked during an installation; not empty once an installation has begun
TWO_AT_ONCE = ["-n", "2", "--dist", "worksteal"]
LAUNCHER = '#!/bin/sh\nexec "$(dirname "$0")/python" -P -m app "$@"\n'


def main() -> NoReturn:
    """Runs the command that the arguments name."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        sys.exit(0 if arguments else "\nName a command, e.g. `python3 dev.py run`.")
    command, rest = arguments[0], arguments[1:]
    if command == "lock":
        sys.exit(lock())
    make_environment()
    if command == "run":
        enter("python", "-P", "-m", "app.sandbox.playground", *rest)
    if command == "test":
        os.chdir(REPO)
        # Without bytecode every process of the tests would compile the product and the tests anew.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        # Two processes, each with a PostgreSQL of its own; the one that finishes first takes tests from the other.
        enter("python", "-m", "pytest", *(rest or [*TWO_AT_ONCE, "-m", "not long"]))
    if not (VENV / "bin" / command).exists():
        sys.exit(f"There is no command `{command}`. See `python3 dev.py --help`.")
    enter(command, *rest)


def enter(program: str, *arguments: str) -> NoReturn:
    """Replaces this process by a program of the virtual environment."""
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ.pop("PYTHONHOME", None)
    path = str(VENV / "bin" / program)
    os.execv(path, [path, *arguments])  # noqa: S606 - no shell


def make_environment() -> None:
    """Installs requirements-dev.lock in .venv if the lock, the Python version or the folder has changed since the last
    time.
    """
    expected_stamp = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version.split()[0]} {VENV}\n"
    if installed() == expected_stamp:
        return
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            sys.exit(f"This Python lacks `{module}`; install it, e.g. `apt install python3-venv`, and start again.")
    try:
        with install_lock() as hold:
            if installed() != expected_stamp:  # another process may have installed it meanwhile
                build(expected_stamp, hold)
    except PermissionError as error:
        sys.exit(f"No permission to write {error.filename}. Copy the checkout to a folder that is yours.")


def installed() -> str | None:
    """Returns a text that identifies what .venv contains, or None if no complete installation exists."""
    with contextlib.suppress(OSError):
        return STAMP.read_text()
    return None


@contextlib.contextmanager
def install_lock() -> Iterator[int]:
    """Makes a second installation wait for the first, and yields the file descriptor of the lock."""
    import fcntl

    with HOLD.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another installation is running; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def build(stamp: str, hold: int) -> None:
    """Creates .venv and installs the packages of the lock file in it."""
    import venv

    if VENV.exists() and not HOLD.stat().st_size:
        sys.exit(f"{VENV} was not created by dev.py. Move it away and start again.")
    if VENV.exists() and not STAMP.exists():
        print("The last installation was interrupted; starting again.", flush=True)
    HOLD.write_text("dev.py makes .venv\n")
    remove_environment()
    started_at = time.monotonic()
    packages = sum("==" in line for line in LOCK.read_text().splitlines())
    print(f"Installing {packages} packages into .venv, once ...", flush=True)
    # Symlinks are needed for a Python that finds its library relative to its own path (pyenv, framework builds).
    venv.EnvBuilder(with_pip=True, symlinks=True).create(VENV)
    install(hold)
    launcher = VENV / "bin" / "aimline"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    for site_packages in VENV.glob("lib/python*/site-packages"):
        (site_packages / "aimline.pth").write_text(f"{REPO}\n")
    STAMP.write_text(stamp)
    print(f"Installed in {time.monotonic() - started_at:.0f} s.", flush=True)


def remove_environment() -> None:
    """Removes .venv, again and again for some seconds, because a killed installation may still write there."""
    STAMP.unlink(missing_ok=True)
    deadline = time.monotonic() + 30
    while VENV.exists():
        shutil.rmtree(VENV, ignore_errors=True)  # repeated until nothing is left
        if VENV.exists() and time.monotonic() > deadline:  # one pass may itself take longer on a busy disk
            sys.exit(f"{VENV} cannot be removed. Remove it by hand and start again.")
        time.sleep(0.1)


def install(hold: int) -> None:
    """Runs pip with hashes and the machine's own index settings.

    pip inherits the lock file `hold`. If this process is killed, the lock therefore stays held until pip ends.
    """
    options = [
        "--require-hashes",
        "--no-deps",
        "--no-user",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    pip = subprocess.run(
        [VENV / "bin" / "python", "-I", "-m", "pip", "install", *options, "-r", LOCK],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[hold],
    )
    if pip.returncode:
        output_end = "\n".join(pip.stdout.strip().splitlines()[-12:])
        sys.exit(
            f"{output_end}\n\nThe packages could not be installed; pip's output is above. After fixing the cause, "
            "run the same command again."
        )


def lock() -> int:
    """Writes both lock files from pyproject.toml, with the hashes for every platform and without the name of an index.

    The second file uses the versions of the first, so that what is tested is what is deployed.
    """
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("Writing the locks needs uv (https://docs.astral.sh/uv/) on PATH; using them does not.")
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    options += ["--no-emit-index-url", "--no-emit-find-links", "--quiet", *sys.argv[2:]]
    product = ["-o", "requirements.lock"]
    tools = ["--extra", "dev", "--constraints", "requirements.lock", "-o", LOCK.name]
    for outcome in (product, tools):
        code = subprocess.run([uv, "pip", "compile", *options, "pyproject.toml", *outcome], cwd=REPO).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

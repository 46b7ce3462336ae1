#!/usr/bin/env python3
"""Sets Aimline up beside itself and starts it. Needs Python 3.11, nothing else; names no package index.

python3 dev.py run [--once] [--roster FILE.zip] [--port N] [--folder DIR]
                             try Aimline: database, api, worker, and a story played against them
python3 dev.py test ...      the suite without its long tests, two at once; or, with arguments, pytest with those
python3 dev.py lock          write requirements.lock and requirements-dev.lock from pyproject.toml (needs uv)
python3 dev.py aimline ...   Aimline's own command line, e.g. `aimline --help`
python3 dev.py COMMAND ...   any other program of the environment
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must hear a sentence, not a traceback
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
LOCK = REPO / "requirements-dev.lock"  # the product's own requirements.lock, and the tools
STAMP = VENV / "aimline.stamp"  # written last: what is installed
HOLD = REPO / ".venv.lock"  # held while installing; no longer empty once an install has begun
TWO_AT_ONCE = ["-n", "2", "--dist", "worksteal"]
LAUNCHER = '#!/bin/sh\nexec "$(dirname "$0")/python" -P -m app "$@"\n'


def main() -> NoReturn:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        sys.exit(0 if arguments else "\nSay what to do, e.g. `python3 dev.py run`.")
    command, rest = arguments[0], arguments[1:]
    if command == "lock":
        sys.exit(lock())
    make_environment()
    if command == "run":
        enter("python", "-P", "-m", "app.sandbox.playground", *rest)
    if command == "test":
        os.chdir(REPO)
        # Two at once, each with a PostgreSQL of its own; the one that is done first takes over from the other.
        enter("python", "-m", "pytest", *(rest or [*TWO_AT_ONCE, "-m", "not long"]))
    if not (VENV / "bin" / command).exists():
        sys.exit(f"There is no `{command}` here. `python3 dev.py --help` says what there is.")
    enter(command, *rest)


def enter(program: str, *arguments: str) -> NoReturn:
    """Become a program of the environment."""
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ.pop("PYTHONHOME", None)
    path = str(VENV / "bin" / program)
    os.execv(path, [path, *arguments])  # noqa: S606 - no shell is wanted


def make_environment() -> None:
    """Installs requirements-dev.lock in .venv, once; again when the lock, the Python or the place has changed."""
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version.split()[0]} {VENV}\n"
    if installed() == wanted:
        return
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            sys.exit(f"This Python lacks `{module}`; install it, e.g. `apt install python3-venv`, and start again.")
    try:
        with alone() as hold:
            if installed() != wanted:  # another run may have made it while we waited
                build(wanted, hold)
    except PermissionError as refused:
        sys.exit(f"No permission to write {refused.filename}. Copy the checkout to a folder that is yours.")


def installed() -> str | None:
    """What the stamp says, or None when nothing whole is installed."""
    with contextlib.suppress(OSError):
        return STAMP.read_text()
    return None


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """One install at a time: a second one waits for the first. Yields the descriptor that holds the lock."""
    import fcntl

    with HOLD.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another install is under way; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def build(stamp: str, hold: int) -> None:
    """Make .venv from nothing and install the lock in it."""
    import venv

    if VENV.exists() and not HOLD.stat().st_size:
        sys.exit(f"{VENV} was not made by dev.py. Move it away and start again.")
    if VENV.exists() and not STAMP.exists():
        print("The last install did not end; making it anew.", flush=True)
    HOLD.write_text("dev.py makes .venv\n")
    clear_away()
    began = time.monotonic()
    packages = sum("==" in line for line in LOCK.read_text().splitlines())
    print(f"Installing {packages} packages into .venv, once ...", flush=True)
    # Links keep a Python whole that finds its library by its own place (pyenv, a framework build).
    venv.EnvBuilder(with_pip=True, symlinks=True).create(VENV)
    install(hold)
    launcher = VENV / "bin" / "aimline"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    for site_packages in VENV.glob("lib/python*/site-packages"):
        (site_packages / "aimline.pth").write_text(f"{REPO}\n")
    STAMP.write_text(stamp)
    print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)


def clear_away() -> None:
    """Remove .venv; what an install that was killed left running may write there for some seconds more."""
    STAMP.unlink(missing_ok=True)
    deadline = time.monotonic() + 30
    while VENV.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        if time.monotonic() > deadline:
            sys.exit(f"{VENV} cannot be removed. Remove it by hand and start again.")
        time.sleep(0.1)


def install(hold: int) -> None:
    """pip with hashes, from wherever this machine's pip is told to look. It holds the lock, even orphaned."""
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
        said = "\n".join(pip.stdout.strip().splitlines()[-12:])
        sys.exit(
            f"{said}\n\nThe packages could not be installed; above is what pip said. Once that is mended, "
            "the same command starts the install anew."
        )


def lock() -> int:
    """Writes both locks from pyproject.toml: every platform, every hash, no index named.

    The second lock takes the versions of the first, so that what is tested is what is deployed.
    """
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("Making the locks needs uv (https://docs.astral.sh/uv/) on PATH; using them does not.")
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

"""Tests that the container image is built from pinned inputs that the repository names."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()


def test_base_images_are_pinned_by_digest() -> None:
    """Base images are pinned by digest. A tag can move, so that two builds of one commit could run on different
    bases.
    """
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert [base for base in bases if not re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", base)] == []
    assert len(set(bases)) == 1, "The stages would run different images."


def test_dependencies_are_installed_by_hash() -> None:
    """The image installs dependencies by hash, so that a manipulated package index cannot deliver other packages."""
    assert "--require-hashes --no-deps -r /tmp/requirements.lock" in DOCKERFILE


@pytest.mark.parametrize(
    ("command", "code"), [("serve --port 8000", 1), ("worker", 0), ("sync run screening --district lakeside", 0)]
)
def test_only_the_api_is_asked_for_its_health(command: str, code: int, tmp_path: Path) -> None:
    """The health check of the container image sends a request only if the container runs the API server.

    A container that runs a worker or a sync listens on no port, and counts as healthy.
    """
    check = re.search(r"^ {4}CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert check is not None
    program: str = json.loads(check[1])[2]
    assert "/proc/1/cmdline" in program
    running = tmp_path / "cmdline"
    running.write_bytes("\0".join(["python", "-m", "app", *command.split()]).encode())
    program = program.replace("/proc/1/cmdline", str(running)).replace(":8000/", ":1/")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == code, ended.stderr

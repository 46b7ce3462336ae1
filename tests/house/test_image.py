"""Tests that the container image is built from pinned inputs that the repository names."""

import re
from pathlib import Path

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()


def test_base_images_are_pinned_by_digest() -> None:
    """A tag moves: two builds of one commit could run on different bases."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert [base for base in bases if not re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", base)] == []
    assert len(set(bases)) == 1, "The stages would run different images."


def test_dependencies_are_installed_by_hash() -> None:
    """An index that is changed cannot put another package into the image."""
    assert "--require-hashes --no-deps -r /tmp/requirements.lock" in DOCKERFILE

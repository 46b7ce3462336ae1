"""Provides the tools from npm that check the contracts, and a folder in which these tools run."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.contract.tools import CONTRACTS, OLDEST_NODE, TOOLS, run


@pytest.fixture(scope="session")
def tools() -> Path:
    """Returns the folder of the installed tools. Skips the test without Node, or without a registry to install them
    from.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("There is no Node on this machine; version 20 or newer runs these checks.")
    version = run("node", "--version", cwd=TOOLS).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node is {version} on this machine; these checks need {OLDEST_NODE} or newer.")
    installed, lock = TOOLS / "node_modules" / ".package-lock.json", TOOLS / "package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # of two processes of tests, one installs and the other waits
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            ended = run(
                "npm", "ci", "--no-progress", "--ignore-scripts", "--no-audit", "--no-fund", cwd=TOOLS, within=900
            )
            if ended.returncode:
                pytest.skip(f"npm could not install the tools: {ended.stderr.strip()[-500:]}")
            os.utime(installed)
    return TOOLS


@pytest.fixture
def workshop(tools: Path, tmp_path: Path) -> Path:
    """A folder with the contract, the documents to compile and the installed tools."""
    shutil.copy(CONTRACTS / "schema.graphql", tmp_path)
    for name in ("documents.ts", "operations.graphql", "client.ts", "package.json"):
        shutil.copy(tools / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(tools / "node_modules")
    return tmp_path

"""Runs external programs that must accept the API contracts, such as compilers of client code."""

import subprocess
from pathlib import Path

from tests.processes import REPOSITORY, environment

TOOLS = Path(__file__).parent / "node"
CONTRACTS = REPOSITORY / "openapi"
OLDEST_NODE = 20


def run(*command: object, cwd: Path, within: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, without input, and returns its result."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment() | {"CI": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
    )


def tool(name: str) -> str:
    """Returns the path of an installed Node tool, relative to the folder in which the tool runs."""
    return f"node_modules/.bin/{name}"

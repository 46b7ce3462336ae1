"""Provides a machine for the tests of faults: a PostgreSQL server, and product processes that can be killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.machine import Machine, machine


@pytest.fixture(scope="module")
async def ours(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    """Yields a machine for the tests of one file."""
    async with machine(Path(tmp_path_factory.mktemp("faults"))) as made:
        yield made

"""Provides a webhook receiver for the tests in this folder."""

from collections.abc import Iterator

import pytest

from tests.rooms.webhook_town import Receiver, receiving


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Yields a receiver that accepts every request."""
    with receiving(tmp_path_factory.mktemp("receiver")) as running:
        yield running

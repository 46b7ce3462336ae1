"""Counts the open WebSocket connections of one process by caller, and refuses connections above the limits.

A connection without a subscription costs little, but occupies one of the process's connections. The limits are
therefore the same as for event streams.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from app.core.errors import Busy
from app.events.hub import MAX_CLIENT_STREAMS, MAX_DISTRICT_STREAMS

TOO_MANY: Final = (
    f"There are too many connections already: at most {MAX_CLIENT_STREAMS} of one client and "
    f"{MAX_DISTRICT_STREAMS} of one district in a process."
)


class OpenSockets:
    """Counts the open connections whose caller is known, by district and by client."""

    def __init__(self) -> None:
        self._of_district: Counter[UUID] = Counter()
        self._of_client: Counter[tuple[UUID, UUID | None]] = Counter()

    @contextmanager
    def count(self, district_id: UUID, client_id: UUID | None) -> Iterator[None]:
        """Counts a connection until the block ends.

        Raises `Busy` if the client or the district already has the largest number of connections.
        """
        client = (district_id, client_id)
        if self._of_district[district_id] >= MAX_DISTRICT_STREAMS or self._of_client[client] >= MAX_CLIENT_STREAMS:
            raise Busy(TOO_MANY, code="streams.too_many")
        self._of_district[district_id] += 1
        self._of_client[client] += 1
        try:
            yield
        finally:
            self._of_district -= Counter({district_id: 1})  # a subtraction drops the keys that reach zero
            self._of_client -= Counter({client: 1})

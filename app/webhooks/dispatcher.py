"""Owns the course of deliveries in a process: when they are claimed, sent, recorded. Never reads what an answer means.

Claiming, sending and recording go on beside each other: while some are sent, the next are claimed, and those before
them recorded.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from app.access.directory import Due, districts_due
from app.core.fault_report import describe_fault
from app.core.log import job_context
from app.webhooks.deliver import Attempt, DeliveryContext, OutboundDelivery, record, send, take

PACE = 0.02  # seconds between two claims, or two records, when there is much to do: each is for many then
BUSY = 16  # deliveries on their way; with no more than these each is recorded at once
IN_FLIGHT = 256  # deliveries at once in this process
OF_ONE_DISTRICT = 128  # and of one district's: the flood of one, or its dead endpoints, leave room for the others
DISTRICTS = 16  # districts in one look

log = structlog.get_logger()


@dataclass
class Deliveries:
    """The deliveries of this process. What is sent and not yet recorded takes no room; the leases bound it."""

    post: DeliveryContext
    flying: set[asyncio.Task[None]] = field(default_factory=set)
    unrecorded: list[Attempt] = field(default_factory=list)
    recording: asyncio.Task[None] | None = None
    of: Counter[UUID] = field(default_factory=Counter)  # on their way, by district
    landed: asyncio.Event = field(default_factory=asyncio.Event)  # something came back: there is room again

    async def turn(self, only: Collection[UUID] | None = None) -> int:
        """One look: dispatches and claims in every district that is due, begins to send; how many were begun."""
        self.landed.clear()
        room = IN_FLIGHT - len(self.flying)
        if room <= 0:
            return 0
        districts = await districts_due(self.post.engine, Due.WEBHOOKS, DISTRICTS) if only is None else list(only)
        if not districts:
            return 0
        # Each district gets its share of the room, so that the flood of one leaves room for the others.
        share = max(1, room // len(districts))
        most = {district: min(share, OF_ONE_DISTRICT - self.of[district]) for district in districts}
        taken = await asyncio.gather(*(self._take(district, n) for district, n in most.items() if n > 0))
        parcels = [parcel for some in taken for parcel in some]
        if parcels:
            log.info("webhooks.claimed", deliveries=len(parcels))
        for parcel in parcels:
            self.of[parcel.district_id] += 1
            task = asyncio.create_task(self._send(parcel))
            self.flying.add(task)
            task.add_done_callback(self.flying.discard)
        return len(parcels)

    async def land(self) -> None:
        """Waits for all that is on its way, until it is recorded."""
        while self.flying or self.recording:
            await asyncio.wait([*self.flying, *([self.recording] if self.recording else [])])

    async def _take(self, district_id: UUID, most: int) -> list[OutboundDelivery]:
        with job_context("webhooks", district_id):
            try:
                return await take(self.post, district_id, most)
            except Exception as error:  # one district's fault must not stop the others
                log.error("webhooks.take_failed", **describe_fault(error))
                return []

    async def _send(self, parcel: OutboundDelivery) -> None:
        with job_context("webhooks", parcel.district_id):
            await self._send_parcel(parcel)

    async def _send_parcel(self, parcel: OutboundDelivery) -> None:
        where = {"delivery": str(parcel.claimed.id), "attempt": parcel.claimed.number}
        try:
            attempt = await send(self.post, parcel)
        except Exception as error:  # the lease ends, and the delivery is taken up again
            log.error("webhooks.send_failed", **where, **describe_fault(error))
            return
        finally:
            self._back(parcel.district_id)
        outcome = attempt.outcome
        log.info(
            "webhooks.attempt",
            **where,
            endpoint=str(parcel.endpoint_id),
            status=outcome.status,
            failure=outcome.failure,
            milliseconds=outcome.milliseconds,
        )
        self.unrecorded.append(attempt)
        if self.recording is None:
            self.recording = asyncio.create_task(self._record())

    def _back(self, district_id: UUID) -> None:
        self.of[district_id] -= 1
        if not self.of[district_id]:
            del self.of[district_id]  # districts with nothing out are forgotten
        self.landed.set()

    async def _record(self) -> None:
        """Records what has come back, a transaction a district: the busier it is, the more goes into each."""
        while self.unrecorded:
            if len(self.flying) > BUSY:
                await asyncio.sleep(PACE)
            attempts, self.unrecorded = self.unrecorded, []
            by_district = defaultdict(list)
            for attempt in attempts:
                by_district[attempt.parcel.district_id].append(attempt)
            for district_id, some in by_district.items():
                with job_context("webhooks", district_id):
                    await self._record_district(district_id, some)
            log.info("webhooks.recorded", attempts=len(attempts))
            self.landed.set()
        self.recording = None

    async def _record_district(self, district_id: UUID, attempts: Sequence[Attempt]) -> None:
        try:
            await record(self.post, district_id, attempts)
        except Exception as error:  # the leases end, and what was sent is sent again: at least once
            log.error("webhooks.record_failed", **describe_fault(error))

"""Runs the webhook deliveries of a process: claims them, sends them and records the attempts.

These steps run at the same time for different deliveries. `schedule` decides what a response means.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from app.core.district_tasks import SkippedDistricts
from app.core.fault_report import describe_fault
from app.core.log import job_context
from app.webhooks.deliver import Attempt, DeliveryContext, OutboundDelivery, claim_batch, record, record_fault, send

PACE = 0.02  # Seconds between two claims or two records under load, so that each covers many deliveries.
BUSY = 16  # If at most this many deliveries are being sent, each attempt is recorded at once.
IN_FLIGHT = 256  # The concurrent deliveries of this process.
OF_ONE_DISTRICT = 128  # The concurrent deliveries of one district, so that there is room for other districts.

log = structlog.get_logger()


@dataclass
class DeliveryDispatcher:
    """Sends the webhook deliveries of this process, several at the same time.

    The number of deliveries that are being sent is limited. Attempts that only wait to be recorded do not count.
    """

    context: DeliveryContext
    in_flight: set[asyncio.Task[None]] = field(default_factory=set)
    unrecorded: list[Attempt] = field(default_factory=list)
    recording: asyncio.Task[None] | None = None
    rests: SkippedDistricts = field(default_factory=SkippedDistricts)
    in_flight_by_district: Counter[UUID] = field(default_factory=Counter)
    room_freed: asyncio.Event = field(default_factory=asyncio.Event)  # set when a delivery has finished

    async def run_once(self, due: Collection[UUID]) -> int:
        """Creates the deliveries of new events in the districts `due`, claims deliveries and starts to send them.

        Returns the number of deliveries that it started to send.
        """
        self.room_freed.clear()
        free_slots = IN_FLIGHT - len(self.in_flight)
        districts = [district_id for district_id in due if not self.rests.is_skipped(district_id)]
        if free_slots <= 0 or not districts:
            return 0
        # Each district gets an equal share of the free slots, so that no district uses them all.
        share = max(1, free_slots // len(districts))
        most = {district: min(share, OF_ONE_DISTRICT - self.in_flight_by_district[district]) for district in districts}
        batches = await asyncio.gather(*(self._claim(district, n) for district, n in most.items() if n > 0))
        claimed = [delivery for batch in batches for delivery in batch]
        if claimed:
            log.info("webhooks.claimed", deliveries=len(claimed))
        for delivery in claimed:
            self.in_flight_by_district[delivery.district_id] += 1
            task = asyncio.create_task(self._send(delivery))
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)
        return len(claimed)

    async def drain(self) -> None:
        """Waits until every delivery that is being sent has been sent and recorded."""
        while self.in_flight or self.recording:
            await asyncio.wait([*self.in_flight, *([self.recording] if self.recording else [])])

    async def _claim(self, district_id: UUID, most: int) -> list[OutboundDelivery]:
        with job_context("webhooks", district_id):
            try:
                claimed = await claim_batch(self.context, district_id, most)
            except Exception as error:  # a fault in one district must not stop the others
                rest = self.rests.note_fault(district_id)
                log.error("webhooks.take_failed", wait=rest, **describe_fault(error))
                return []
            # The district is not skipped next time, so that a delivery that has just become due does not wait.
            self.rests.note(district_id, done=1)
            return claimed

    async def _send(self, delivery: OutboundDelivery) -> None:
        with job_context("webhooks", delivery.district_id):
            await self._send_logged(delivery)

    async def _send_logged(self, delivery: OutboundDelivery) -> None:
        log_fields = {"delivery": str(delivery.claimed.id), "attempt": delivery.claimed.claim_number}
        try:
            attempt = await send(self.context, delivery)
        except Exception as error:
            log.error("webhooks.send_failed", **log_fields, **describe_fault(error))
            with suppress(Exception):  # If this fails too, the lease expires and the delivery is claimed again.
                await record_fault(self.context, delivery, error)
            return
        finally:
            self._release(delivery.district_id)
        outcome = attempt.outcome
        log.info(
            "webhooks.attempt",
            **log_fields,
            endpoint=str(delivery.endpoint_id),
            status=outcome.status,
            failure=outcome.failure,
            milliseconds=outcome.milliseconds,
        )
        self.unrecorded.append(attempt)
        if self.recording is None:
            self.recording = asyncio.create_task(self._record())

    def _release(self, district_id: UUID) -> None:
        self.in_flight_by_district[district_id] -= 1
        if not self.in_flight_by_district[district_id]:
            del self.in_flight_by_district[district_id]  # districts without deliveries in flight are dropped
        self.room_freed.set()

    async def _record(self) -> None:
        """Records the attempts that are finished and not recorded yet, in one transaction for each district.

        The busier the process, the more attempts one transaction records.
        """
        while self.unrecorded:
            if len(self.in_flight) > BUSY:
                await asyncio.sleep(PACE)
            attempts, self.unrecorded = self.unrecorded, []
            by_district = defaultdict(list)
            for attempt in attempts:
                by_district[attempt.delivery.district_id].append(attempt)
            for district_id, some in by_district.items():
                with job_context("webhooks", district_id):
                    await self._record_district(district_id, some)
            log.info("webhooks.recorded", attempts=len(attempts))
            self.room_freed.set()
        self.recording = None

    async def _record_district(self, district_id: UUID, attempts: Sequence[Attempt]) -> None:
        try:
            await record(self.context, district_id, attempts)
        except Exception as error:  # The leases expire, and the deliveries are sent again: at-least-once delivery.
            log.error("webhooks.record_failed", **describe_fault(error))

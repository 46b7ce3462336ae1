"""Tests jobs: no job is claimed twice, claims are limited, a dead worker's job is claimed again, late results are
refused.
"""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.jobs import ClaimedJob, JobOutcome, claim, save_outcomes
from app.webhooks.deliver import DELIVERIES, Attempt, OutboundDelivery, claim_deliveries, dispatch, record_attempts
from app.webhooks.models import WebhookAttempt, WebhookDelivery
from app.webhooks.send import Outcome
from app.webhooks.service import NewEndpoint, register_endpoint
from tests.rooms.webhook_town import end_leases, happen
from tests.town import Town

TAKEN, BROKEN = Outcome(204, None, 5), Outcome(None, "timeout", 15_000)


async def _endpoint(town: Town) -> UUID:
    async with town.unit() as work:
        made, _ = await register_endpoint(work, NewEndpoint("https://example.org/", ("concern.raised",)))
    return made.id


@needs(Can.DELIVER_WEBHOOKS)
async def _claim(work: Work, most: int) -> list[ClaimedJob]:
    return await claim(work.db, DELIVERIES, work.district_id, most)


@needs(Can.DELIVER_WEBHOOKS)
async def _settle(work: Work, ours: ClaimedJob) -> bool:
    return bool(await save_outcomes(work.db, DELIVERIES, work.district_id, [JobOutcome(ours, "delivered")]))


@needs(Can.DELIVER_WEBHOOKS)
async def _delivery(work: Work, delivery_id: UUID) -> tuple[str, int, list[int]]:
    query = select(WebhookDelivery).where(
        WebhookDelivery.district_id == work.district_id, WebhookDelivery.id == delivery_id
    )
    delivery = (await work.db.scalars(query)).one()
    numbers = await work.db.scalars(
        select(WebhookAttempt.number)
        .where(WebhookAttempt.district_id == work.district_id, WebhookAttempt.delivery_id == delivery_id)
        .order_by(WebhookAttempt.number)
    )
    return delivery.state, delivery.attempts, list(numbers)


def _came(delivery: OutboundDelivery, outcome: Outcome) -> Attempt:
    return Attempt(delivery, now(), outcome)


async def _deliveries(town: Town) -> list[OutboundDelivery]:
    async with town.house() as work:
        await dispatch(work)
        return await claim_deliveries(work, 100)


async def test_claims_at_the_same_time_are_disjoint(north: Town) -> None:
    """Workers that claim at the same time never get the same delivery.

    Together, they never get more deliveries of one endpoint than the limit of the endpoint allows.
    """
    made = [await _endpoint(north) for _ in range(3)]
    for _ in range(DELIVERIES.at_once + 4):
        await happen(north)
    async with north.house() as work:
        await dispatch(work)
    begun = asyncio.Barrier(4)

    async def one_worker() -> list[ClaimedJob]:
        async with north.house() as work:
            await begun.wait()
            return await _claim(work, 100)

    claims = await asyncio.gather(*(one_worker() for _ in range(4)))
    ids = [row.id for rows in claims for row in rows]
    assert len(ids) == len(set(ids)) == DELIVERIES.at_once * len(made)


async def test_an_endpoint_has_no_more_than_its_number_at_once(north: Town) -> None:
    """Workers together cannot claim more deliveries of an endpoint than the endpoint's limit.

    A claimed delivery counts until its lease ends.
    """
    await _endpoint(north)
    for _ in range(DELIVERIES.at_once + 4):
        await happen(north)
    async with north.house() as work:
        await dispatch(work)
    async with north.house() as first:
        assert len(await _claim(first, 100)) == DELIVERIES.at_once
        async with north.house() as second:
            assert await _claim(second, 100) == []
    async with north.house() as third:
        assert await _claim(third, 100) == []
    await end_leases(north)
    async with north.house() as fourth:
        assert len(await _claim(fourth, 100)) == DELIVERIES.at_once


async def test_a_key_that_ails_has_fewer_at_once(north: Town) -> None:
    """A receiver whose jobs only fail has fewer jobs at the same time, until one succeeds again."""
    await _endpoint(north)
    for _ in range(DELIVERIES.at_once + 4):
        await happen(north)
    first, *others = await _deliveries(north)
    async with north.house() as work:
        await record_attempts(work, [_came(delivery, BROKEN) for delivery in others])
    async with north.house() as work:
        assert len(await _claim(work, 100)) == DELIVERIES.at_once_ailing - 1  # the first is still out
    async with north.house() as work:
        await record_attempts(work, [_came(first, TAKEN)])
    async with north.house() as work:
        assert len(await _claim(work, 100)) > DELIVERIES.at_once_ailing


async def test_of_two_attempts_in_one_record_the_later_counts(north: Town) -> None:
    """If one batch of records has two attempts of a job, the later attempt determines its state."""
    await _endpoint(north)
    await happen(north)
    (slow,) = await _deliveries(north)
    await end_leases(north)
    (quick,) = await _deliveries(north)
    async with north.house() as work:
        assert await record_attempts(work, [_came(quick, TAKEN), _came(slow, BROKEN)])
    async with north.house() as work:
        assert await _delivery(work, quick.claimed.id) == ("delivered", 2, [1, 2])


async def test_a_claim_takes_no_more_than_it_was_asked_to(north: Town) -> None:
    """A claim takes no more jobs than requested, whatever plan PostgreSQL chooses."""
    for _ in range(3):
        await _endpoint(north)
    for _ in range(6):
        await happen(north)
    async with north.house() as work:
        await dispatch(work)
        assert len(await _claim(work, 5)) == 5


async def test_a_lease_that_ended_is_taken_up_and_the_late_one_is_fenced_off(north: Town) -> None:
    """After a lease has ended, another worker claims the job. A late result of the former worker is refused but
    logged.
    """
    await _endpoint(north)
    await happen(north)
    (slow,) = await _deliveries(north)
    assert await _deliveries(north) == []
    await end_leases(north)
    (quick,) = await _deliveries(north)
    assert (quick.claimed.id, quick.claimed.claim_number) == (slow.claimed.id, slow.claimed.claim_number + 1)
    async with north.house() as work:
        assert not await record_attempts(work, [_came(slow, BROKEN)])
    async with north.house() as work:
        assert await record_attempts(work, [_came(quick, TAKEN)])
    async with north.house() as work:
        assert await _delivery(work, quick.claimed.id) == ("delivered", 2, [1, 2])


async def test_a_late_success_counts_while_nobody_else_has_taken_it_up(north: Town) -> None:
    """If a worker finishes a job after its lease has ended, this counts as long as no other worker has claimed the
    job.
    """
    await _endpoint(north)
    await happen(north)
    (slow,) = await _deliveries(north)
    await end_leases(north)
    async with north.house() as work:
        assert await record_attempts(work, [_came(slow, TAKEN)])
    assert await _deliveries(north) == []


async def test_crashes_use_up_attempts(north: Town) -> None:
    """A delivery during which workers die again and again is given up, so that it does not kill workers for ever."""
    await _endpoint(north)
    await happen(north)
    number = 0
    while deliveries := await _deliveries(north):
        number = deliveries[0].claimed.claim_number
        await end_leases(north)
    assert number == 10


async def test_nothing_of_another_district_is_claimed_or_settled(north: Town, south: Town) -> None:
    """A claim is limited to one district: a row of another district is not found, even by its id and claim number."""
    await _endpoint(north)
    await happen(north)
    (delivery,) = await _deliveries(north)
    await end_leases(north)
    async with south.house() as work:
        assert await _claim(work, 100) == []
        assert not await _settle(work, delivery.claimed)


async def test_a_rolled_back_claim_leaves_the_row_due(north: Town) -> None:
    """A claim that is rolled back leaves the job due."""
    await _endpoint(north)
    await happen(north)

    async def die() -> None:
        async with north.house() as work:
            await dispatch(work)
            assert len(await _claim(work, 100)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await die()
    (delivery,) = await _deliveries(north)
    assert delivery.claimed.claim_number == 1

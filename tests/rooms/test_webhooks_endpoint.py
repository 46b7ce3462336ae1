"""Tests webhook endpoints: what is refused, what is encrypted, and who sees which endpoint."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.crypto import KeyFault
from app.core.errors import Forbidden, Invalid, NotFound
from app.core.ids import new_id
from app.core.page import keyset
from app.webhooks.models import WebhookEndpoint
from app.webhooks.queries import deliveries, endpoint, endpoints
from app.webhooks.service import NewEndpoint, register_endpoint, remove_endpoint
from app.webhooks.sign import format_secret
from tests.town import Town

FIT = NewEndpoint("https://example.org/hooks", ("concern.raised",))
MANAGES = frozenset({"webhook:manage", "event:read"})


async def _make(town: Town, schools: tuple[int, ...] = ()) -> tuple[WebhookEndpoint, str | None]:
    client = town.client(MANAGES, tuple(town.schools[number] for number in schools))
    async with town.unit(client) as work:
        return await register_endpoint(work, FIT)


async def test_everything_wrong_is_said_at_once(north: Town) -> None:
    """All violations of an endpoint are reported at once, with their places and without a submitted value."""
    new = NewEndpoint("http://u:p@10.0.0.1/#x", ("concern.raised", "concern.invented"), "a" * 501)
    async with north.unit() as work:
        with pytest.raises(Invalid) as refused:
            await register_endpoint(work, new)
    violations = {(violation.pointer, violation.code) for violation in refused.value.violations}
    assert violations == {
        ("/url", "url.scheme"),
        ("/url", "url.user_info"),
        ("/url", "url.fragment"),
        ("/url", "url.address"),
        ("/event_types/1", "event_type.unknown"),
        ("/description", "description.malformed"),
    }
    assert "invented" not in str(refused.value.violations)


async def test_a_caseload_makes_no_endpoint(north: Town) -> None:
    """A caller who sees only a caseload cannot create an endpoint, because a caseload changes from day to day."""
    bound = replace(north.client(), reach=Reach.CASELOAD, students=(north.students["amy"],))
    async with north.unit(bound) as work:
        with pytest.raises(Forbidden):
            await register_endpoint(work, FIT)


async def test_a_secret_is_sealed_to_its_row(north: Town) -> None:
    """A secret is stored encrypted, and can be decrypted only under its own endpoint and district."""

    @needs(Can.MANAGE_WEBHOOKS)
    async def stored(work: Work, made: WebhookEndpoint) -> str:
        query = text("SELECT w::text FROM webhook_endpoint w WHERE district_id = :district AND id = :id")
        row = await work.db.scalar(query, {"district": work.district_id, "id": made.id})
        return str(row)

    made, secret = await _make(north)
    async with north.unit() as work:
        row = await stored(work, made)
    assert secret is not None
    assert secret.removeprefix("whsec_") not in row
    ring = north.settings.keyring
    opened = ring.open(made.secret_sealed, "webhook_endpoint", north.district_id, made.id)
    assert format_secret(opened) == secret
    with pytest.raises(KeyFault):
        ring.open(made.secret_sealed, "webhook_endpoint", north.district_id, new_id())
    with pytest.raises(KeyFault):
        ring.open(made.secret_sealed, "webhook_endpoint", new_id(), made.id)


async def test_who_reaches_less_does_not_see_the_endpoint(north: Town, south: Town) -> None:
    """A client of one school sees only endpoints of this school, and another district's client sees none."""
    whole, _ = await _make(north)
    school_one, _ = await _make(north, (0,))
    listing = keyset(north.district_id, "endpoints", {}, None, 50)
    async with north.unit(north.client(MANAGES, (north.schools[0],))) as work:
        assert [one.id for one in (await endpoints(work, listing)).rows] == [school_one.id]
        with pytest.raises(NotFound):
            await endpoint(work, whole.id)
    async with north.unit() as work:
        assert {one.id for one in (await endpoints(work, listing)).rows} == {whole.id, school_one.id}
    async with south.unit() as work:
        for made in (whole, school_one):
            with pytest.raises(NotFound):
                await deliveries(work, made.id, keyset(south.district_id, "deliveries", {}, None, 50))
            with pytest.raises(NotFound):
                await remove_endpoint(work, made.id)


async def test_a_list_is_paged_by_its_cursor(north: Town) -> None:
    """In a list that is read page by page, every endpoint is on exactly one page."""
    made = [(await _make(north))[0].id for _ in range(3)]
    seen, cursor = [], None
    while True:
        async with north.unit() as work:
            page = await endpoints(work, keyset(north.district_id, "endpoints", {}, cursor, 2))
        seen += [one.id for one in page.rows]
        cursor = page.next
        if cursor is None:
            break
    assert seen == made


async def test_a_removed_endpoint_is_not_there(north: Town) -> None:
    """A removed endpoint stays in the database, but callers do not find it and cannot remove it again."""
    made, _ = await _make(north)
    async with north.unit() as work:
        await remove_endpoint(work, made.id)
    async with north.unit() as work:
        with pytest.raises(NotFound):
            await remove_endpoint(work, made.id)

"""Tests that services in a private network cannot be read through webhooks: their responses are stored but not
shown.
"""

from pathlib import Path

import asyncpg
import pytest
from fastapi import FastAPI

from app.core import ids
from app.core.crypto import KeyFault
from app.main import build
from app.settings import Settings
from app.worker import drain
from tests.faces.rest_town import caller
from tests.rooms.webhook_town import drained, happen, receiving, register
from tests.town import Town

REFUSES = ("--fail-first", "1", "--status", "500")


def with_networks(settings: Settings, **lists: str) -> Settings:
    """Returns the settings of the tests with these lists of allowed networks."""
    return Settings(**(settings.model_dump() | lists))


async def test_an_answer_of_an_allowed_network_is_kept_and_not_shown(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """An answer from a private network is stored for the operator; the APIs show only its status."""
    opened = with_networks(north.settings, webhook_allow_networks="127.0.0.0/8")
    with receiving(tmp_path, *REFUSES) as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drain(opened, {north.district_id})
    path = f"/v1/webhook-endpoints/{ids.format_id('endpoint', made.id)}/deliveries"
    client = caller(app, north)
    listed = (await client.get(path)).json()["items"][0]
    resent = (await client.post(f"{path}/{listed['id']}/resend", {})).json()
    for shown in (listed["attempts"][0], resent["attempts"][0]):
        assert (shown["status"], shown["answer"], shown["answer_withheld"]) == (500, None, True)
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        kept = "SELECT answer FROM webhook_attempt WHERE district_id = $1"
        assert await owner.fetchval(kept, north.district_id) == "Answered 500."
    finally:
        await owner.close()


async def test_an_answer_of_a_sandbox_is_shown(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """The answers of receivers are shown for a sandbox's loopback addresses and for public addresses."""
    with receiving(tmp_path, *REFUSES) as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drained(north)
    path = f"/v1/webhook-endpoints/{ids.format_id('endpoint', made.id)}/deliveries"
    shown = (await caller(app, north).get(path)).json()["items"][0]["attempts"][0]
    assert (shown["status"], shown["answer"], shown["answer_withheld"]) == (500, "Answered 500.", False)


def test_webhooks_and_sources_have_a_list_of_their_own(settings: Settings) -> None:
    """Webhooks and sources have separate lists of networks, and a refusal names the list that applies."""
    separate = with_networks(settings, webhook_allow_networks="10.1.0.0/16", sis_allow_networks="10.2.0.0/16")
    webhooks, sources = separate.webhook_allowed, separate.sis_allowed
    assert [str(network) for network in webhooks.networks] == ["10.1.0.0/16"]
    assert [str(network) for network in sources.networks] == ["10.2.0.0/16"]
    assert "AIMLINE_WEBHOOK_ALLOW_NETWORKS" in webhooks.refusal
    assert "AIMLINE_SIS_ALLOW_NETWORKS" in sources.refusal


async def test_each_face_asks_the_list_of_its_own(settings: Settings, north: Town) -> None:
    """An address that is allowed for webhooks is not allowed for sources, and the other way round."""
    both = with_networks(settings, webhook_allow_networks="10.1.0.0/16", sis_allow_networks="10.2.0.0/16")
    built = build(both)
    client = caller(built, north)
    endpoint = {"event_types": ["concern.raised"]}
    source = {"kind": "oneroster-csv"}
    try:
        for host, takes_endpoint, takes_source in (("10.1.0.9", 201, 422), ("10.2.0.9", 422, 201)):
            url = f"https://{host}/x"
            made = await client.post("/v1/webhook-endpoints", endpoint | {"url": url})
            kept = await client.post("/v1/sis-sources", source | {"url": url, "name": f"s{host[3]}"})
            assert (made.status_code, kept.status_code) == (takes_endpoint, takes_source), made.text + kept.text
            refused = made if takes_endpoint == 422 else kept
            named = "AIMLINE_WEBHOOK_ALLOW_NETWORKS" if refused is made else "AIMLINE_SIS_ALLOW_NETWORKS"
            assert named in refused.json()["violations"][0]["detail"]
    finally:
        await built.state.services.engine.dispose()


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"allow_networks": "10.0.0.0/8"}, "AIMLINE_ALLOW_NETWORKS was removed"),
        ({"webhook_allow_networks": "office"}, "AIMLINE_WEBHOOK_ALLOW_NETWORKS: 'office' is not a network"),
        ({"sis_allow_networks": "10.0.0.1/8"}, "AIMLINE_SIS_ALLOW_NETWORKS: '10.0.0.1/8' is not a network"),
    ],
    ids=["one list for both", "webhooks", "sources"],
)
def test_a_list_that_cannot_be_meant_is_refused(settings: Settings, lists: dict[str, str], words: str) -> None:
    """An invalid list of networks is refused with a sentence when a process starts."""
    with pytest.raises(KeyFault, match=words):
        with_networks(settings, **lists).check_networks()

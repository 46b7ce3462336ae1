"""Tests requests whose database connection breaks: the response states only what is certain."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.main import build
from tests.faces.cutting_proxy import CuttingProxy, cutting_proxy
from tests.faces.faulty import FACES, code_of, concerns_of, list_concerns, raise_concern, succeeded
from tests.town import Town


@pytest.fixture
async def proxy(north: Town, tmp_path: Path) -> AsyncIterator[CuttingProxy]:
    """Yields a proxy in front of the database whose connections can be cut."""
    async with cutting_proxy(north.settings.url_of("api"), tmp_path) as proxy:
        yield proxy


@pytest.fixture
async def cut_app(north: Town, proxy: CuttingProxy) -> AsyncIterator[FastAPI]:
    """Yields the product's app with a database connection that can be cut."""
    app = build(north.settings.model_copy(update={"api_database_url": proxy.url}))
    yield app
    await app.state.services.engine.dispose()


@pytest.mark.parametrize("face", FACES)
async def test_a_commit_whose_answer_is_lost_is_of_unknown_outcome(
    cut_app: FastAPI, proxy: CuttingProxy, north: Town, face: str
) -> None:
    """If the connection is lost during a commit, the answer is 503 and says that the outcome is unknown.

    It has no Retry-After, because a client that repeats by itself could create the concern twice. An earlier version
    answered 500 and stated that nothing was changed, although something was.
    """
    proxy.cut_after = b"COMMIT"
    answer = await raise_concern(cut_app, north, face)
    assert proxy.cuts == 1
    assert (answer.status_code, code_of(answer)) == (503, "outcome.unknown"), answer.text
    assert "retry-after" not in answer.headers
    assert "/v1/events" in answer.text
    assert "Nothing was changed" not in answer.text
    assert await concerns_of(north) == ["Quiet."]


@pytest.mark.parametrize("face", FACES)
async def test_a_read_whose_commit_is_lost_is_read_again(
    cut_app: FastAPI, proxy: CuttingProxy, north: Town, face: str
) -> None:
    """If the connection breaks during the commit of a read, the read is repeated and answered."""
    proxy.cut_after = b"COMMIT"
    answer = await list_concerns(cut_app, north, face)
    assert proxy.cuts == 1
    assert answer.status_code == 200, answer.text
    assert "errors" not in answer.json()


@pytest.mark.parametrize("face", FACES)
async def test_a_connection_that_is_cut_before_the_commit_is_begun_again(
    cut_app: FastAPI, proxy: CuttingProxy, north: Town, face: str
) -> None:
    """A request whose connection breaks before the commit is repeated once."""
    proxy.cut_after = b"INSERT INTO concern"
    answer = await raise_concern(cut_app, north, face)
    assert proxy.cuts == 1
    assert succeeded(answer), answer.text
    assert await concerns_of(north) == ["Quiet."]

"""Tests the documents that are the same for all callers: they are built once and have an ETag.

Nothing else is cached.
"""

import asyncio
import threading

import pytest
from fastapi import FastAPI

from app.main import build
from app.rest.documents import ASSETS, Document
from app.settings import Settings
from tests.faces.rest_town import caller, plain
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import operations, own_request
from tests.house.walk_knows import OPEN
from tests.town import Town

DOCUMENTS = ("/openapi.json", "/docs", "/graphiql", *ASSETS)


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_document_has_a_strong_etag_and_is_not_sent_twice(app: FastAPI, path: str) -> None:
    """A request with the document's ETag gets 304 without a body, and HEAD gets the headers."""
    async with plain(app) as client:
        first = await client.get(path)
        etag = first.headers["etag"]
        assert first.status_code == 200
        assert first.content
        assert etag.startswith('"')
        for given in (etag, f'"other", W/{etag}', "*"):
            repeated = await client.get(path, headers={"If-None-Match": given})
            assert (repeated.status_code, repeated.content) == (304, b""), given
            assert repeated.headers["etag"] == etag
        other = await client.get(path, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
        head = await client.head(path)
        assert (head.status_code, head.headers["etag"], head.content) == (200, etag, b"")


async def test_the_contract_is_built_once_for_all_who_ask(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen requests at the same time, and later ones, get the same document, which is built once."""
    app = build(settings)
    built, described = [], app.openapi

    def counted() -> object:
        built.append(1)
        return described()

    monkeypatch.setattr(app, "openapi", counted)
    async with plain(app) as client:
        answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(16)))
        answers += [await client.get("/openapi.json")]
    assert len({answer.content for answer in answers}) == 1
    assert len(built) == 1
    assert answers[0].json() == described()
    await app.state.services.engine.dispose()


async def test_callers_of_an_unbuilt_document_hold_nobody_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While many callers wait for the contract's first build, another caller without a token is answered."""
    app = build(settings)
    described, may_build = app.openapi, threading.Event()

    def held_back() -> object:
        assert may_build.wait(60)
        return described()

    monkeypatch.setattr(app, "openapi", held_back)
    async with plain(app) as client:
        waiting = [asyncio.create_task(client.get("/openapi.json")) for _ in range(64)]
        try:
            await asyncio.sleep(0.05)
            async with asyncio.timeout(120):
                answer = await client.post("/oauth/token", data={"grant_type": "password"})
            assert answer.status_code == 400
            assert not any(request.done() for request in waiting)
        finally:
            may_build.set()
        assert {(await request).status_code for request in waiting} == {200}
    await app.state.services.engine.dispose()


async def test_a_document_that_could_not_be_made_is_made_by_the_next_caller() -> None:
    """If building a document fails at the first request, the next request builds it."""
    tries: list[int] = []

    def make() -> bytes:
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        return b"made"

    document = Document(make, "text/plain")
    with pytest.raises(OSError):  # noqa: PT011  # any error of the disk
        await document.content()
    assert (await document.content())[0] == b"made"


@pytest.fixture
async def district(north: Town) -> FullDistrict:
    """Returns a district with all kinds of rows."""
    return await fill_district(north)


async def test_no_answer_about_a_person_may_be_stored_or_guessed_at(app: FastAPI, district: FullDistrict) -> None:
    """Every response of both APIs is marked `no-store` and `nosniff`.

    This includes refusals and responses to unknown routes.
    """
    north = caller(app, district.town)
    for operation in operations(app):
        path = own_request(operation, district).path if operation.name not in OPEN else operation.path
        answers = [await north.ask(operation.method, path), await north.ask(operation.method, path, params={"x": "1"})]
        for answer in answers:
            assert "no-store" in answer.headers["cache-control"], operation.name
            assert answer.headers["x-content-type-options"] == "nosniff", operation.name
    for answer in (
        await north.post("/graphql", {"query": "{ students(first: 1) { edges { node { id } } } }"}),
        await north.get("/v1/nothing"),
        await north.get("/docs/nothing"),
        await north.ask("POST", "/v1/scores", content=b"x" * (3 << 20)),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_token_request_is_small(app: FastAPI) -> None:
    """A large request to the token endpoint is refused, because anybody can send one without a token."""
    async with plain(app) as client:
        answer = await client.post("/oauth/token", data={"grant_type": "x" * 20_000})
    assert answer.status_code == 413

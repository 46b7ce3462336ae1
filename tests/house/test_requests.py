"""Tests in both APIs that operations accept the idempotency keys and versions that they declare."""

import re

from fastapi import FastAPI

from app.graphql.commands import KEY, OVERWRITES
from app.graphql.schema import schema
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.walk import operations, own_request
from tests.house.walk_knows import OPEN

WITHOUT_KEY = {
    "token": "a token is no effect, and its request has no client before it is answered",
    "send_roster": "its body goes to disk as it arrives; a second zip is refused while a run is pending",
    "send_scores": "its body goes to disk as it arrives; a second file is refused while a run is pending",
}
"""Operations by POST that take no idempotency key, with the reason."""


def test_every_post_takes_a_key(app: FastAPI) -> None:
    """The contract has an idempotency key for every POST except those in `WITHOUT_KEY`, and for no other method."""
    posts = [one for one in operations(app) if one.method == "POST"]
    without = {one.name for one in posts if "Idempotency-Key" not in one.names("header")}
    assert without == WITHOUT_KEY.keys()
    assert len(posts) > 25
    assert not [
        one.name for one in operations(app) if one.method != "POST" and "Idempotency-Key" in one.names("header")
    ]


async def test_every_post_refuses_a_bad_key(app: FastAPI, full_north: FullDistrict) -> None:
    """Every POST refuses an invalid key with 400 before it does anything."""
    client = caller(app, full_north.town)
    for operation in operations(app):
        if operation.method != "POST" or operation.name in WITHOUT_KEY:
            continue
        request = own_request(operation, full_north)
        answer = await client.ask("POST", request.path, **request.body, headers={"Idempotency-Key": '""'})
        assert answer.status_code == 400, (operation.name, answer.text)
        assert answer.json()["violations"][0]["code"] == "idempotency.key_malformed", operation.name


def test_the_contract_says_who_takes_a_version(app: FastAPI) -> None:
    """In the contract, exactly the PATCH operations require If-Match and can answer 428.

    Every operation with If-Match can answer 412, and at least 20 responses have an ETag.
    """
    paths = app.openapi()["paths"]
    tagged = 0
    for operation in operations(app):
        entry = paths[operation.path][operation.method.lower()]
        headers = {one["name"]: one["required"] for one in operation.parameters if one["in"] == "header"}
        assert (operation.method == "PATCH") == headers.get("If-Match", False), operation.name
        assert ("If-Match" in headers) == ("412" in entry["responses"]), operation.name
        assert (operation.method == "PATCH") == ("428" in entry["responses"]), operation.name
        for status in ("200", "201"):
            tagged += "ETag" in entry["responses"].get(status, {}).get("headers", {})
    assert tagged >= 20


async def test_every_tag_is_sent(app: FastAPI, full_north: FullDistrict) -> None:
    """If the contract states an ETag for a read, the response has one, and a request that repeats it gets 304."""
    client = caller(app, full_north.town)
    for operation in operations(app):
        if operation.name in OPEN or not operation.reads or "If-None-Match" not in operation.names("header"):
            continue
        path = own_request(operation, full_north).path
        tag = (await client.get(path)).headers["etag"]
        assert (await client.ask("GET", path, headers={"If-None-Match": tag})).status_code == 304, operation.name


async def test_a_row_without_a_version_refuses_one(app: FastAPI, full_north: FullDistrict) -> None:
    """If-Match for a row without a version is refused with 400."""
    client = caller(app, full_north.town)
    path = f"/v1/sync-runs/{full_north.shown['held run to discard']}/discard"
    answer = await client.ask("POST", path, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["violations"][0]["code"]) == (400, "version.unsupported")


def test_every_mutation_takes_a_key_and_a_version_as_its_operation_in_rest(app: FastAPI) -> None:
    """Every mutation has `idempotencyKey`, and `version` if its REST operation has If-Match."""
    rest = {one.name: one for one in operations(app)}
    mutations = schema._schema.mutation_type
    assert mutations is not None
    compared = 0
    for name, field in mutations.fields.items():
        assert KEY in field.args, name
        operation = rest.get(re.sub("([A-Z])", r"_\1", name).lower())
        if operation is not None and "If-Match" in operation.names("header"):
            assert "version" in field.args, name
            assert (operation.method == "PATCH") == (operation.name in OVERWRITES), name
            compared += 1
    assert compared >= 3

"""Runs the sandbox SIS as a process for the tests, and queries it as a client would. Shares no code with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.processes import TRUSTS_NOBODY, environment, warm
from tests.warm import Warm

ON = "2026-11-21"
V11, V12, BOOK = "ims/oneroster/v1p1", "ims/oneroster/rostering/v1p2", "ims/oneroster/gradebook/v1p2"
PURL = "https://purl.imsglobal.org/spec/or"
ALL = " ".join(
    [f"{PURL}/v1p1/scope/{name}.readonly" for name in ("roster-core", "roster", "roster-demographics", "gradebook")]
    + [
        f"{PURL}/v1p2/scope/{name}.readonly"
        for name in ("roster-core", "roster", "roster-demographics", "gradebook", "assessment")
    ]
)
Row = dict[str, Any]


@contextmanager
def running(*arguments: str, origin: Warm | None = None) -> Iterator[str]:
    """Runs a sandbox SIS with the client `north` and the secret `of-a-test`, and yields its address."""
    forks = origin or warm()
    command = ["aimline", "sandbox", "sis", "--on", ON, "--client", "north:of-a-test", "--until-stdin-closes"]
    (its_input, ours), (answer, its_output) = os.pipe(), os.pipe()
    pid = forks.start([*command, *arguments], environment(), [its_input, its_output, 2])
    try:
        with os.fdopen(ours, "w"), os.fdopen(answer, encoding="utf-8") as output:
            os.close(its_input)
            os.close(its_output)
            address = output.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "the sandbox SIS did not start"
            yield address
    finally:
        forks.wait(pid, within=60)


def signed_in(address: str, scope: str = ALL) -> httpx.Client:
    """Returns an HTTP client with a token for these scopes."""
    form = {"grant_type": "client_credentials", "scope": scope}
    answer = httpx.post(f"{address}oauth/token", data=form, auth=("north", "of-a-test"), verify=TRUSTS_NOBODY)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    return httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=TRUSTS_NOBODY
    )


@contextmanager
def client_of(*arguments: str, origin: Warm | None = None) -> Iterator[httpx.Client]:
    """Yields a client of a sandbox SIS that runs for this test only."""
    with running(*arguments, origin=origin) as address, signed_in(address) as client:
        yield client


def rows(answer: httpx.Response) -> list[Row]:
    """Returns the rows in the answer to a list."""
    assert answer.status_code == 200, answer.text
    (listed,) = answer.json().values()
    assert isinstance(listed, list)
    return listed


def everything(client: httpx.Client, path: str, limit: int = 5000, **query: str) -> list[Row]:
    """Returns the rows of all pages, read by offset until a page is empty."""
    all_rows: list[Row] = []
    while page := rows(client.get(path, params={"limit": limit, "offset": len(all_rows), **query})):
        all_rows += page
    return all_rows


def error(answer: httpx.Response) -> tuple[int, str]:
    """Returns the status and the imsx_codeMinorFieldValue of an error, after checking its form."""
    info = answer.json()
    assert info["imsx_codeMajor"] == "failure"
    assert info["imsx_severity"] == "error"
    assert info["imsx_description"]
    (field,) = info["imsx_CodeMinor"]["imsx_codeMinorField"]
    return answer.status_code, field["imsx_codeMinorFieldValue"]

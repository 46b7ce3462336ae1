"""Tests the pages to try both APIs: they load only our own files, authorize, and run a request in a browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from tests.browser.chromium import Page, browser, program
from tests.faces.rest_town import plain
from tests.processes import aimline
from tests.town import Town

HOST = "aimline.test"
"""A name that is not loopback: on such a host Swagger UI would ask another one to check the contract."""
WIDTHS = (1280, 360)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Yields a page in a browser that can connect only to the tested server."""
    program()
    async with browser(tmp_path, HOST) as page:
        yield page


@pytest.fixture
async def credentials(north: Town) -> tuple[str, str]:
    """Returns a client's id and secret, as the command line prints them."""
    arguments = ("client", "create", "--district", north.slug, "--scope", "all", "--json")
    made = json.loads((await asyncio.to_thread(aimline, north.settings, *arguments)).stdout)
    return made["client_id"], made["client_secret"]


def _address(serving: str, path: str) -> str:
    return f"http://{HOST}:{urlsplit(serving).port}{path}"


def _assert_only_ours(page: Page) -> None:
    hosts = {urlsplit(url).hostname for url in page.requests if not url.startswith(("data:", "blob:", "about:"))}
    assert hosts == {HOST}
    assert page.complaints == []


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
async def test_the_rest_page_authorizes_and_runs_a_request(
    page: Page, serving: str, credentials: tuple[str, str], width: int
) -> None:
    """In Swagger UI, the dialog accepts the client's id and secret, and a request is answered with rows."""
    await page.open(_address(serving, "/docs"), width)
    await page.click("button.authorize")
    for place, text in zip(("client_id", "client_secret"), credentials, strict=True):
        await page.type_into(f"#{place}_clientCredentials", text)
    await page.click(".auth-btn-wrapper button.authorize")
    await page.wait_for("!!document.querySelector('.auth-container h6')")
    await page.click(".btn-done")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Swagger UI renders only the operations near the window. A person finds the others with the filter or by scrolling.
    await page.type_into(".operation-filter-input", "/v1/students")
    operation = '.opblock-get:has([data-path="/v1/students"])'
    await page.click(f"{operation} .opblock-summary-control")
    await page.click(f"{operation} .execute")
    answer = f"document.querySelector({json.dumps(f'{operation} .live-responses-table .microlight')})"
    shown = await page.wait_for(f"{answer} && {answer}.textContent")
    assert '"family_name"' in shown
    assert credentials[1] not in await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    _assert_only_ours(page)


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
async def test_the_graphql_page_authorizes_and_runs_an_operation(
    page: Page, serving: str, credentials: tuple[str, str], north: Town, width: int
) -> None:
    """The GraphiQL page loads the schema after authorization, and shows the rows that a query returns."""
    query = "{students(first:5){edges{node{givenName familyName}}}}"
    await page.open(_address(serving, "/graphiql"), width)
    await page.wait_for("!!document.querySelector('.graphiql-editor .CodeMirror')")
    for name, text in zip(("client_id", "client_secret"), credentials, strict=True):
        await page.type_into(f"[name={name}]", text)
    await page.click("#authorize button")
    await page.wait_for("document.getElementById('outcome').textContent.startsWith('Authorized')")
    await page.wait_for("performance.getEntriesByType('resource').some(one => one.name.endsWith('/graphql'))")
    editor = "document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror"
    await page.evaluate(f"{editor}.setValue({json.dumps(query)})")
    await page.click(".graphiql-execute-button")
    result = "document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
    shown = await page.wait_for(f"{result}.includes('edges') && {result}")
    assert north.canary in shown
    await page.click("button[aria-label='Show Documentation Explorer']")
    await page.wait_for("document.querySelector('.graphiql-plugin').innerText.includes('Root Types')")
    # A student's id may stand in the editor: nothing is kept when the tab is closed, and the secret never.
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert await page.evaluate("localStorage.length") == 0
    assert credentials[1] not in kept
    assert "eyJ" not in kept
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    _assert_only_ours(page)


async def test_the_pages_allow_no_other_host_and_no_foreign_script(app: FastAPI) -> None:
    """The pages tell the browser to refuse other hosts, inline scripts and frames."""
    async with plain(app) as client:
        for path in ("/docs", "/graphiql"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
            assert directives["default-src"] == "'none'"
            assert directives["connect-src"] == "'self'"
            assert directives["frame-ancestors"] == "'none'"
            assert "unsafe" not in directives["script-src"]
            assert "http" not in policy
            assert "<script>" not in answer.text or "'sha256-" in directives["script-src"]

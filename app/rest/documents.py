"""Owns the documents that are the same for every caller: the contract, the documentation page and its assets.

Each document is built once and served with a strong ETag. It holds nothing of any district.
"""

import asyncio
import hashlib
from collections.abc import Callable
from importlib import resources

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import RedirectResponse

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
SETTINGS = {"tryItOutEnabled": True, "persistAuthorization": True, "filter": True, "displayRequestDuration": True}
READS = ["GET", "HEAD"]


class Document:
    """A document whose bytes are built once, at its first request, however many requests arrive at that moment."""

    def __init__(self, make: Callable[[], bytes], media_type: str) -> None:
        self._make, self._media_type = make, media_type
        self._lock = asyncio.Lock()
        self._made: tuple[bytes, str] | None = None

    async def answer(self, request: Request) -> Response:
        """Returns the document, or 304 to a caller that already has it."""
        body, etag = await self.content()
        # Clients revalidate each time, so that none works with the contract of an earlier version.
        headers = {"ETag": etag, "Cache-Control": "public, no-cache"}
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=self._media_type)

    async def content(self) -> tuple[bytes, str]:
        """Returns the document's bytes and its ETag."""
        if self._made is None:
            async with self._lock:
                if self._made is None:
                    # The contract takes a while to build: a thread keeps the event loop free for other requests.
                    body = await asyncio.to_thread(self._make)
                    self._made = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return self._made


def documents(app: FastAPI) -> APIRouter:
    """Returns the routes that serve the contract of an app and its documentation page."""
    router = APIRouter(include_in_schema=False)
    contract = Document(lambda: orjson.dumps(app.openapi()), "application/json")
    page = Document(lambda: _page(app.title), "text/html; charset=utf-8")
    router.add_api_route("/openapi.json", contract.answer, methods=READS)
    router.add_api_route("/docs", page.answer, methods=READS)
    for name, media_type in ASSETS.items():
        router.add_api_route(f"/swagger/{name}", Document(_asset(name), media_type).answer, methods=READS)

    @router.api_route("/", methods=READS)
    async def to_the_page() -> Response:
        return RedirectResponse("docs")

    return router


def _page(title: str) -> bytes:
    # The addresses are relative, so that the page works behind a proxy that serves it under a path of its own.
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters=SETTINGS,
    )
    return bytes(page.body)


def _asset(name: str) -> Callable[[], bytes]:
    return (resources.files("fastapi_swagger") / "resources" / name).read_bytes


def _matches(header: str, etag: str) -> bool:
    """Tells whether If-None-Match names the ETag, by the weak comparison (RFC 9110 §13.1.2)."""
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))

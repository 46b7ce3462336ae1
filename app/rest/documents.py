"""Owns what is the same for every caller: the contract, the documentation page and its assets.

Each is bytes that are made once and served with a strong ETag. Nothing of a district is in them.
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
    """Bytes that are made once, when they are first asked for, however many ask at that moment."""

    def __init__(self, make: Callable[[], bytes], media_type: str) -> None:
        self._make, self._media_type = make, media_type
        self._lock = asyncio.Lock()
        self._made: tuple[bytes, str] | None = None

    async def answer(self, request: Request) -> Response:
        """The document, or 304 to a caller that has it."""
        body, etag = await self.content()
        # To be asked for again each time: a caller never works with the contract of an earlier version.
        headers = {"ETag": etag, "Cache-Control": "public, no-cache"}
        if _has(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=self._media_type)

    async def content(self) -> tuple[bytes, str]:
        """The bytes and their ETag."""
        if self._made is None:
            async with self._lock:
                if self._made is None:
                    # In a thread: the contract takes a while to make, and others are to be answered meanwhile.
                    body = await asyncio.to_thread(self._make)
                    self._made = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return self._made


def documents(app: FastAPI) -> APIRouter:
    """The routes of the documents of an app."""
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


def _has(given: str, etag: str) -> bool:
    """Whether If-None-Match names the ETag; the comparison is the weak one (RFC 9110 §13.1.2)."""
    return given.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in given.split(","))

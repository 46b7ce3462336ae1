"""Serves the documents that are the same for every caller: the contract, the pages to try both APIs, and their assets.

Each document is built once and served with a strong ETag. None contains data of a district. The pages work without
internet: their headers forbid the browser to load anything from another host, and to run any script but the page's own.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import resources
from typing import NamedTuple

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse

from app.rest.problem_pages import index_page, page_of
from app.rest.problem_types import PAGES, PROBLEM_TYPES

HTML, SCRIPT, STYLE, PNG = "text/html; charset=utf-8", "text/javascript", "text/css", "image/png"


class Asset(NamedTuple):
    """A file that is served unchanged, from an installed package or from this service."""

    package: str
    path: str
    media_type: str


_GRAPHIQL = "static/graphene_django_graphiql_static"
ASSETS = {
    "/swagger/swagger-ui-bundle.js": Asset("fastapi_swagger", "resources/swagger-ui-bundle.js", SCRIPT),
    "/swagger/swagger-ui.css": Asset("fastapi_swagger", "resources/swagger-ui.css", STYLE),
    "/swagger/favicon-32x32.png": Asset("fastapi_swagger", "resources/favicon-32x32.png", PNG),
    **{
        f"/graphiql/{name}": Asset("graphene_django_graphiql_static", f"{_GRAPHIQL}/{name}", media_type)
        for name, media_type in (
            ("react.production.min.js", SCRIPT),
            ("react-dom.production.min.js", SCRIPT),
            ("graphiql.min.js", SCRIPT),
            ("graphiql.min.css", STYLE),
        )
    },
    "/graphiql/page.js": Asset("app.rest", "graphiql/page.js", SCRIPT),
    "/graphiql/page.css": Asset("app.rest", "graphiql/page.css", STYLE),
}
GRAPHIQL_PAGE = Asset("app.rest", "graphiql/page.html", HTML)
SETTINGS = {
    "tryItOutEnabled": True,
    "filter": True,
    "displayRequestDuration": True,
    # Otherwise Swagger UI would keep the client's secret in the browser, and ask another host to check the contract.
    "persistAuthorization": False,
    "validatorUrl": None,
}
READS = ["GET", "HEAD"]
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
CONTENT_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Document:
    """A document that is built only once, at its first request."""

    def __init__(
        self, make: Callable[[], bytes], media_type: str, headers: Callable[[bytes], Mapping[str, str]] | None = None
    ) -> None:
        self._make, self._media_type, self._headers = make, media_type, headers
        self._lock = asyncio.Lock()
        self._made: tuple[bytes, str] | None = None

    async def answer(self, request: Request) -> Response:
        """Returns the response with the document, or 304 for a caller that already has it."""
        body, etag = await self.content()
        # Clients revalidate each time, so that none uses the contract of an earlier version.
        headers = {"ETag": etag, "Cache-Control": "public, no-cache"}
        if self._headers is not None:
            headers |= self._headers(body)
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=self._media_type)

    async def content(self) -> tuple[bytes, str]:
        """Returns the document's bytes and its ETag."""
        if self._made is None:
            async with self._lock:
                if self._made is None:
                    # The contract takes a while to build, so a thread builds it and the event loop continues with other
                    # requests.
                    body = await asyncio.to_thread(self._make)
                    self._made = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return self._made


def documents(app: FastAPI) -> APIRouter:
    """Returns the routes that serve an app's contract, its documentation pages and their assets."""
    router = APIRouter(include_in_schema=False)
    contract = Document(lambda: orjson.dumps(app.openapi()), "application/json")
    swagger = Document(lambda: _swagger_page(app.title), HTML, page_headers)
    graphiql = Document(_reader(GRAPHIQL_PAGE), HTML, page_headers)
    router.add_api_route("/openapi.json", contract.answer, methods=READS)
    router.add_api_route("/docs", swagger.answer, methods=READS)
    router.add_api_route("/graphiql", graphiql.answer, methods=READS)
    for path, asset in ASSETS.items():
        router.add_api_route(path, Document(_reader(asset), asset.media_type).answer, methods=READS)

    problems = Document(index_page, HTML, page_headers)
    router.add_api_route(PAGES, problems.answer, methods=READS)
    pages = {code: Document(partial(page_of, code), HTML, page_headers) for code in PROBLEM_TYPES}

    @router.api_route(f"{PAGES}{{code}}", methods=READS)
    async def problem_page(request: Request, code: str) -> Response:
        if code not in pages:
            raise HTTPException(404)
        return await pages[code].answer(request)

    @router.api_route("/", methods=READS)
    async def to_the_page() -> Response:
        return RedirectResponse("docs")

    return router


def preparations(router: APIRouter) -> dict[str, Callable[[], Awaitable[object]]]:
    """Returns functions that build the documents of a router, keyed by path. A document that exists is not built again.

    A request for a document calls its function before the request's turn begins. The first build of the contract takes
    seconds. During a turn, it would keep all other callers without a token waiting.
    """
    endpoints = {route.path: route.endpoint for route in router.routes if isinstance(route, APIRoute)}
    owners = {path: getattr(endpoint, "__self__", None) for path, endpoint in endpoints.items()}
    return {path: owner.content for path, owner in owners.items() if isinstance(owner, Document)}


def page_headers(page: bytes) -> dict[str, str]:
    """Returns the headers of a page. They allow only our own script files, and inline scripts with the right hashes."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return {"Content-Security-Policy": CONTENT_POLICY.format(scripts=scripts), "Referrer-Policy": "no-referrer"}


def _swagger_page(title: str) -> bytes:
    # The addresses are relative, so that the page works behind a proxy that serves it under a path prefix.
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters=SETTINGS,
    )
    return bytes(page.body)


def _reader(asset: Asset) -> Callable[[], bytes]:
    return lambda: resources.files(asset.package).joinpath(asset.path).read_bytes()


def _matches(header: str, etag: str) -> bool:
    """Returns whether the header If-None-Match contains the ETag, by the weak comparison (RFC 9110 §13.1.2)."""
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))

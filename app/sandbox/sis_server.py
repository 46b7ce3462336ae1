"""Implements the sandbox SIS, which serves a synthetic district over HTTP as OneRoster 1.1, 1.2 and CSV.

Clients can only read. In addition to the standard's paths, it has these:

* `POST /oauth/token` issues a token.
* `GET /csv/oneroster.zip` (?day=, ?oneroster=1.2, ?gradebook=true) returns the district as a zip.
* `GET /sandbox` returns the settings.
* `POST /sandbox/day/{day}` moves to another day; for tests.
* `POST /sandbox/quirks?name=…` replaces all quirks and returns to the first day; for tests.
"""

import os
import tempfile
from collections import OrderedDict
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.sandbox.district import District
from app.sandbox.export import ExportOptions, export_csv
from app.sandbox.export_files import Binding
from app.sandbox.sis_answers import origin, paging, refusal, status_info
from app.sandbox.sis_auth import Gate
from app.sandbox.sis_history import stamp
from app.sandbox.sis_json import FIELDS, SINGLE, Json, Writer, instant
from app.sandbox.sis_operations import GRADEBOOK, ROSTERING, V11, Operation, bases, operation
from app.sandbox.sis_pages import Pages
from app.sandbox.sis_query import Query, Refused, read_fields, read_query, select
from app.sandbox.sis_quirks import Quirks, UnknownQuirk
from app.sandbox.sis_rows import Rows
from app.sandbox.sis_shapes import Shapes
from app.sandbox.sis_views import kind_of, nested, one, whole

DAYS_HELD = 2
LAGGING = {"users", "classes", "demographics"}
FAILING = {  # for each quirk, the status of its responses and an additional header
    "throttle": (429, {"Retry-After": "1"}),
    "throttle-silent": (429, {}),
    "bad-gateway": (502, {}),
    "gateway-timeout": (504, {}),
}


class Sis:
    """A simulated SIS: its district, the current day of the simulation, the client that it accepts, and its quirks.

    Quirks make the SIS behave as badly as some real systems do.
    """

    def __init__(self, district: District, gate: Gate, quirks: Quirks) -> None:
        self.gate, self._lock, self._first_day = gate, Lock(), district
        self.under_way = 0
        self.replace_quirks(quirks)

    def replace_quirks(self, quirks: Quirks) -> None:
        """Replaces the active quirks (deviations), and returns to the first day of the simulation."""
        with self._lock:
            self.quirks = self.gate.quirks = quirks
            self.district = _next_year(self._first_day) if "rollover" in quirks else self._first_day
            self.requests = self.pages_served = 0
            self._days: OrderedDict[int, Pages] = OrderedDict()

    async def token(self, request: Request) -> Response:
        """Returns the response of the token endpoint (RFC 6749, 4.4)."""
        if "oauth1-only" in self.quirks:
            return JSONResponse({"error": "not_found"}, 404)
        if "token-redirect" in self.quirks and request.url.path == "/oauth/token":
            return RedirectResponse(f"{origin(request.url)}/oauth/moved/token", 307)
        try:
            return JSONResponse(await self.gate.grant(request), headers={"Cache-Control": "no-store"})
        except Refused as error:
            body = {"error": error.minor, "error_description": error.description}
            return JSONResponse(body, error.status, error.headers)

    async def csv(self, request: Request) -> Response:
        """Returns the district's bulk zip; query parameters can select another day, version 1.2, or the gradebook."""
        parameters = request.query_params
        day, version, grades = (
            parameters.get("day", str(self.district.day)),
            parameters.get("oneroster"),
            parameters.get("gradebook"),
        )
        if not day.isdecimal():
            return JSONResponse({"error": "day must be a whole number."}, 400)
        if version not in (None, "1.1", "1.2") or grades not in (None, "true", "false"):
            return JSONResponse({"error": "oneroster must be 1.1 or 1.2, gradebook true or false."}, 400)
        options = ExportOptions(Binding(version or "1.1", grades == "true"))
        folder = tempfile.TemporaryDirectory(prefix="aimline-sis-")
        path = Path(folder.name) / "oneroster.zip"
        district = self.district.on(int(day))
        await run_in_threadpool(export_csv, district, path, None, options)
        # The file's time is that of its data, so that Last-Modified and ETag are the same in every run of a seed.
        written = stamp(district, district.day).timestamp()
        os.utime(path, (written, written))
        return FileResponse(path, filename=path.name, background=BackgroundTask(folder.cleanup))

    async def settings(self, request: Request) -> Response:
        """Returns the settings of the sandbox SIS. If the path has a day, first moves the simulation to this day."""
        if "day" in request.path_params:
            self.district = self.district.on(request.path_params["day"])
        settings = {"district": self.district.name, "students": self.district.students, "seed": self.district.seed}
        quirks = sorted(self.quirks.values)
        return JSONResponse(settings | {"day": self.district.day, "date": str(self.district.date), "quirks": quirks})

    async def set_quirks(self, request: Request) -> Response:
        """Switches on the named quirks (deviations), and no others."""
        try:
            self.replace_quirks(Quirks(request.query_params.getlist("name")))
        except UnknownQuirk as error:
            return JSONResponse({"error": str(error)}, 400)
        return await self.settings(request)

    async def serve(self, request: Request) -> Response:
        """Returns the response to a request for any of OneRoster's paths."""
        self.requests += 1
        self.under_way += 1
        version = "1.1" if request.url.path.startswith(V11) else "1.2"
        try:
            self._fail_by_quirk()
            base, prefix, operation, parts = self._locate(request)
            version = operation.version
            if request.method != "GET":
                raise Refused(405, "unsupportedoperation", "The sandbox is read-only.", {"Allow": "GET"})
            self.gate.check(request, version, operation.scopes)
            return await run_in_threadpool(self._answer, request, operation, (base, prefix), parts)
        except Refused as error:
            return refusal(error, version, self.quirks)
        finally:
            self.under_way -= 1

    def _fail_by_quirk(self) -> None:
        limit = self.quirks.number("at-most")
        if limit is not None and self.under_way > limit:
            raise Refused(429, "server_busy", "Too many requests at once.")
        for name, (status, headers) in FAILING.items():
            every = self.quirks.number(name)
            if every is not None and self.requests % every == 0:
                raise Refused(status, "server_busy", "Try again later.", headers)

    def _locate(self, request: Request) -> tuple[str, str, Operation, tuple[str, ...]]:
        path = request.url.path
        for prefix, services in bases(self.quirks.text("base")).items():
            if not path.startswith(prefix + "/"):
                continue
            parts = tuple(path[len(prefix) + 1 :].rstrip("/").split("/"))  # some clients end their paths with a slash
            for base in services:
                candidate = operation(base, parts)
                if candidate and not self.quirks.named("missing", "/".join(parts[::2])):
                    return base, prefix, candidate, parts
        raise Refused(404, "unknownobject", "There is no such endpoint.")

    def _answer(
        self, request: Request, operation: Operation, base: tuple[str, str], parts: tuple[str, ...]
    ) -> Response:
        with self._lock:  # a count or an order is computed once, however many requests need it
            version, kind = operation.version, kind_of(parts[-2] if len(parts) % 2 == 0 else parts[-1])
            pages = self._pages(self.district.day - (kind in LAGGING and "lagging-users" in self.quirks))
            shapes = Shapes(self.quirks, origin(request.url), instant(stamp(pages.rows.district, 0)))
            writer = self._writer(request, operation.version, base[1], pages)
            parts = tuple(shapes.inward(part) if number % 2 else part for number, part in enumerate(parts))
            fields_of_kind, single = FIELDS[version][kind], SINGLE[kind]
            if len(parts) == 2:
                fields = read_fields(request.query_params, fields_of_kind, version)
                row = shapes.row(single, writer.write(kind, one(pages.rows, *parts)))
                return _json({single: select(row, fields)})
            query = read_query(request.query_params, fields_of_kind, version)
            cap = self.quirks.number("clamp")
            query = query if cap is None else replace(query, limit=min(cap, query.limit))
            view = whole(pages.rows, parts[0]) if len(parts) == 1 else nested(pages.rows, parts)
            if len(parts) == 1 and self.quirks.named("error-200", parts[0]):
                fault = Refused(500, "internal_server_error", "The view could not be read.")
                return _json(status_info(fault, version, self.quirks))
            rows: list[Json] = []
            total = 0
            if len(parts) > 1 or not self.quirks.named("empty", parts[0]):
                write = lambda row: shapes.row(single, writer.write(kind, row))  # noqa: E731  # a function of one expression
                rows, total = pages.page(view, self._overlapping(query), version, write)
            headers = paging(request, query, total, self.quirks) | self._turn()
            return _json({kind: [select(row, query.fields) for row in rows]}, headers)

    def _overlapping(self, query: Query) -> Query:
        if "repeated-rows" not in self.quirks or query.offset == 0:
            return query
        return replace(query, offset=query.offset - 1, limit=query.limit + 1)

    def _turn(self) -> dict[str, str]:
        every = self.quirks.number("day-turns")
        if every is None:
            return {}
        revision = {"X-Roster-Revision": str(self.district.day)}
        self.pages_served += 1
        if self.pages_served % every == 0:
            self.district = self.district.on(self.district.day + 1)
        return revision

    def _pages(self, day: int) -> Pages:
        day = max(0, day)
        if day not in self._days:
            self._days[day] = Pages(Rows(self.district.on(day), self.quirks))
            while len(self._days) > DAYS_HELD:
                self._days.popitem(last=False)
        return self._days[day]

    def _writer(self, request: Request, version: str, prefix: str, pages: Pages) -> Writer:
        address, rows = origin(request.url), pages.rows
        services = (V11, V11) if version == "1.1" else (ROSTERING, GRADEBOOK)
        if "base" in self.quirks:
            services = (prefix, prefix)
        when = {day: instant(stamp(rows.district, day)) for day in range(rows.district.day + 1)}
        return Writer(version, (address + services[0], address + services[1]), when.__getitem__, rows.children)

    def app(self) -> Starlette:
        """Returns the server as an ASGI application."""
        routes = [
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/moved/token", self.token, methods=["POST"]),
            Route("/csv/oneroster.zip", self.csv, methods=["GET"]),
            Route("/sandbox", self.settings, methods=["GET"]),
            Route("/sandbox/quirks", self.set_quirks, methods=["POST"]),
            Route("/sandbox/day/{day:int}", self.settings, methods=["POST"]),
            Route("/{path:path}", self.serve, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
        return Starlette(routes=routes)


def _json(body: Json, headers: dict[str, Any] | None = None) -> Response:
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _next_year(district: District) -> District:
    last = date(district.date.year + 1, district.date.month, min(28, district.date.day))
    return replace(district, date=last)

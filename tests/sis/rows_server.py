"""Serves a small district as pages of OneRoster JSON rows, 1.1 or 1.2, that a test can alter."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from app.sis.engine.report import Report
from app.sis.guard import GuardLimits
from app.sis.oneroster_rest.connection import Connection, RetryPolicy
from app.sis.oneroster_rest.pull import open_rest
from app.sis.service import sync
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import quiet
from tests.sis.roster_zip import STUDENTS, Export
from tests.town import Town

HASTY = RetryPolicy(tries=3, first=0.01, longest=0.02, total=5.0, answer=10.0)
REFS = ("course", "school", "class", "user", "org", "parent", "lineItem", "student", "category", "schoolYear")
LISTS = {"terms": "termSourcedIds", "orgs": "orgSourcedIds"}
Row = dict[str, Any]
Answer = Callable[[SisRequest], Reply | None]


class RowsServer:
    """Serves the district of `roster_zip` in JSON. `answer` may answer a request in place of the server."""

    def __init__(self, version: str = "1.1", students: int = STUDENTS, export: Export | None = None) -> None:
        self.version: Literal["1.1", "1.2"] = "1.2" if version == "1.2" else "1.1"
        export = export or Export()
        self.rows: dict[str, list[Row]] = {name: list(map(self._json, of)) for name, of in export.rows.items()}
        if students < STUDENTS:
            left = {f"{letter}{n}" for letter in "se" for n in range(students, STUDENTS)}
            for name, rows in self.rows.items():
                self.rows[name] = [row for row in rows if row["sourcedId"] not in left]
        if self.version == "1.2":
            for user in self.users:
                user["roles"] = [
                    {"roleType": "primary", "role": user.pop("role"), "org": org} for org in user.pop("orgs")
                ]
        self.answer: Answer = lambda _request: None
        self.total, self.sorts, self.cap = True, False, 100_000
        self.requests: list[SisRequest] = []

    @property
    def users(self) -> list[Row]:
        """Returns the rows of the users."""
        return self.rows["users"]

    def row(self, name: str, sourced_id: str) -> Row:
        """Returns one row. The test may change it."""
        return next(row for row in self.rows[name] if row["sourcedId"] == sourced_id)

    def set_role(self, sourced_id: str, role: str) -> None:
        """Changes the role of a user."""
        user = self.row("users", sourced_id)
        (user if self.version == "1.1" else user["roles"][0])["role"] = role

    @staticmethod
    def _json(cells: dict[str, str]) -> Row:
        row: Row = {"status": "active", "dateLastModified": "2026-09-01T00:00:00Z"}
        for name, value in cells.items():
            stem = name.removesuffix("SourcedId")
            if stem in REFS and stem != name:
                row[stem] = {"sourcedId": value}
            elif name in LISTS.values():
                stem = name.removesuffix("SourcedIds") + "s"
                row[stem] = [{"sourcedId": one} for one in value.split(",")]
            elif name == "grades":
                row[name] = value.split(",")
            else:
                row[name] = value
        return row

    def page(self, request: SisRequest) -> Reply:
        """Answers a request for a page, or for a token."""
        self.requests.append(request)
        if request.name == "token":
            return Reply(body={"access_token": "t", "token_type": "bearer", "expires_in": 3600})
        given = self.answer(request)
        if given is not None:
            return given
        rows = self.rows.get(request.name)
        if rows is None:
            return Reply(404)
        if self.sorts and request.query.get("sort") == "sourcedId":
            rows = sorted(rows, key=lambda row: str(row["sourcedId"]))
        limit, offset = min(int(request.query["limit"]), self.cap), int(request.query["offset"])
        headers = {"X-Total-Count": str(len(rows))} if self.total else {}
        return Reply(body={request.name: rows[offset : offset + limit]}, headers=headers)

    @contextmanager
    def running(self, **settings: Any) -> Iterator[Connection]:
        """Serves the rows over HTTP, and yields the connection settings of the source."""
        with answering(self.page) as (address, _):
            yield self.connection(address, **settings)

    def connection(self, address: str = "http://127.0.0.1/", **settings: Any) -> Connection:
        """Returns the settings of the source at an address."""
        base: dict[str, Any] = {"patience": HASTY, "client_id": "c", "client_secret": "s", "sandbox": True} | settings
        return Connection(self.version, address + "ims", None, address + "token", "oauth2-basic", **base)


async def sync_rows(
    town: Town,
    rows: RowsServer,
    *,
    since: Any = None,
    dry: bool = False,
    limits: GuardLimits | None = None,
    **settings: Any,
) -> Report:
    """Syncs a district from these rows over REST, as the source `csv`."""
    with rows.running(**settings) as connection:
        opener = partial(open_rest, connection, since=since, progress=quiet)
        keyring = town.settings.keyring
        return await sync(town.worker_engine, keyring, town.district_id, opener, "csv", dry, quiet, limits)

"""Reads one page of one collection: builds its URL, and parses its headers and the JSON around its rows.

It does not decide which page comes next. It reports no free text of a response, because it may contain a name.

This file exceeds 250 lines so that every form of a page that a source may send is in one place.
"""

import asyncio
import gc
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import orjson

from app.core.encoding import guess_encoding
from app.sis.oneroster_rest.connection import GRADES, Connection, RetryPolicy
from app.sis.oneroster_rest.signin import credentials
from app.sis.oneroster_rest.walk import WalkPage
from app.sis.oneroster_rest.wire import Answer, Wire
from app.sis.port import CollectionBusy, CollectionRefused

ENVELOPES: Final = {
    "schools": "orgs",
    "terms": "academicSessions",
    "gradingPeriods": "academicSessions",
    "students": "users",
    "teachers": "users",
}
"""The key of the list of rows in a page's JSON, by collection.

A collection that is missing here has its own name as the key.
"""

ABSENT: Final = frozenset({403, 404, 405, 410, 501})
NO_MORE: Final = frozenset({204, 416})
"""The statuses that some sources send for a page after their last row."""
CHARSETS: Final = {
    **dict.fromkeys(("iso-8859-1", "latin1", "windows-1252", "cp1252"), "cp1252"),
    **{"iso-8859-15": "iso-8859-15", "utf-16": "utf-16"},
}
"""The charsets other than UTF-8 that a source may state, with their codecs. ISO-8859-1 is read as Windows-1252."""
CUT_OFF: Final = "unexpected end of data"  # the reason that a decoder gives for a text that ends within a character
GUESSED: Final = 4096  # the number of bytes from which an encoding is guessed
FEW_TRIES: Final = 3  # The number of tries for a collection that a run can do without.
GARBLED: Final = 3  # The number of responses in a row without valid JSON after which the pull fails.
SHARED: Final = 4  # The number of refused tokens of one request after which it is sent alone.
_ID = itemgetter("sourcedId")
_NEXT = re.compile(r"<([^>]*)>([^<]*)")
_REVISION = re.compile(r"x-[a-z-]*(revision|snapshot|generation)")
_WORDS = re.compile(r"[a-z_]{3,40}")


class CollectionAbsent(Exception):
    """Raised if a collection does not exist, or if this client may not read it: status 403, 404 or a similar one."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class BadQuery(Exception):
    """Raised if the source refuses the parameters of a request: status 400 or 422."""


@dataclass(slots=True)
class Reader:
    """Reads pages of a source with authorized requests."""

    wire: Wire
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection: Connection = self.wire.connection
        self.credentials = credentials(self.wire, self.warnings)
        self._alone, self._one_by_one = False, asyncio.Lock()
        self._answered, self._failed = set(), set()
        self.bases = {False: self.connection.rostering, True: self.connection.gradebook}

    connection: Connection = field(init=False)
    credentials: Any = field(init=False)
    bases: dict[bool, str] = field(init=False)
    _answered: set[str] = field(init=False)
    _failed: set[str] = field(init=False)
    _alone: bool = field(init=False)
    _one_by_one: asyncio.Lock = field(init=False)

    async def page(
        self,
        name: str,
        limit: int,
        offset: int,
        query: Mapping[str, str],
        link: str | None,
        optional: bool = False,
    ) -> WalkPage:
        """Returns a page of a collection.

        `query` has the filter and the order. If `link` is given, it is the URL of the page, and replaces the offset.
        An optional collection that has never answered is requested only a few times if it fails, and so is one with a
        filter: the run can do without both.

        If the source answers that the collection is absent or that the query is bad, raises `CollectionAbsent` or
        `BadQuery` for the first page. For a later page, such an answer, or the status 204 or 416, marks the end of the
        collection, and the page is returned without rows. The status 401 never marks the end.
        """
        url = link or page_url(self.bases[name in GRADES], name, limit, offset, query)
        policy = None
        if name not in self._answered and (optional or "filter" in query):
            policy = self.connection.patience.brief(1 if name in self._failed else FEW_TRIES)
        try:
            page = await self._page(name, url, offset, policy)
            self._answered.add(name)
            return page
        except CollectionBusy:
            raise
        except CollectionRefused:
            self._failed.add(name)
            if offset or "filter" not in query:
                raise
            raise BadQuery from None  # the filter may be the reason: without it, the source may answer

    async def _page(self, name: str, url: str, offset: int, policy: RetryPolicy | None) -> WalkPage:
        garbled = 0
        while True:
            answer = await self.get(url, policy)
            if answer.status in ABSENT or answer.status in (400, 401, 422):
                if offset and answer.status != 401:
                    return WalkPage([], [], refused=answer.status)
                if answer.status in (400, 422):
                    raise BadQuery
                raise CollectionAbsent(answer.status)
            if offset and answer.status in NO_MORE:
                return WalkPage([], [], refused=answer.status)
            if answer.status != 200:
                raise CollectionRefused(_status_error(answer.status, name))
            try:
                return self._read(name, url, answer)
            # RecursionError is raised for lists that are nested too deeply
            except (ValueError, RecursionError) as error:
                if isinstance(error, UnicodeDecodeError) and error.reason != CUT_OFF:
                    raise CollectionRefused(_encoding_sentence(name, offset, error)) from None
                garbled += 1
                is_web_page = not offset and answer.body.lstrip()[:1] == b"<"  # a login, or another address
                if is_web_page or garbled >= min(GARBLED, policy.tries if policy else GARBLED):
                    raise CollectionRefused(_garbled_sentence(name, offset, answer.body)) from None
                await asyncio.sleep(self.connection.patience.first * garbled)

    async def get(self, url: str, policy: RetryPolicy | None = None) -> Answer:
        """Returns the response to a request that is authorized with a token or a signature.

        The status is 401 only if new tokens do not help. If a token is valid for only a few uses, concurrent requests
        may use up each new token. After several refused tokens, requests are therefore sent one by one.
        """
        for _ in range(SHARED):
            if self._alone:
                break
            answer, can_retry = await self._try(url, policy)
            if not can_retry:
                return answer
        self._alone = True
        async with self._one_by_one:
            answer, can_retry = await self._try(url, policy)
            left = self.connection.concurrency + SHARED  # the running requests may still use up as many tokens
            while can_retry and left:
                answer, can_retry = await self._try(url, policy)
                left -= 1
            if answer.status == 401:
                self._alone = False  # the request itself is refused, not its token
            return answer

    async def _try(self, url: str, policy: RetryPolicy | None) -> tuple[Answer, bool]:
        """Sends a request once. Returns the response, and whether it can help to send the request again.

        It can help only if the `Authorization` header was refused (401) and another one can be made.
        """
        used = ""

        async def authorized() -> Mapping[str, str]:
            nonlocal used
            used = await self.credentials.header("GET", url)
            return {"Authorization": used}

        answer = await self.wire.send("GET", url, authorized, policy=policy)
        if answer.status != 401:
            self.credentials.accept(used)
            return answer, False
        return answer, await self.credentials.renew(used)

    def _read(self, name: str, url: str, answer: Answer) -> WalkPage:
        rows = extract_rows(name, parse_json(answer.body, _charset(answer.headers.get("content-type", ""))))
        total = answer.headers.get("x-total-count", "").strip()
        link = answer.headers.get("link")
        following = _following(link) if link is not None else None
        revision = [f"{name}={value}" for name, value in answer.headers.items() if _REVISION.fullmatch(name)]
        return WalkPage(
            rows,
            sourced_ids(rows),
            int(total) if total.isascii() and total.isdigit() else None,
            None if link is None else following is not None,
            ";".join(sorted(revision)) or None,
            self._beyond(url, following),
        )

    def _beyond(self, url: str, link: str | None) -> str | None:
        """Returns the URL of the next page if the response has a `next` link without an offset, otherwise None.

        A link to another host is ignored, so that the token is not sent there.
        """
        if link is None or "offset" in parse_qs(urlsplit(link).query, keep_blank_values=True):
            return None
        target = urljoin(url, link.partition(":///")[2].join(("/", "")) if ":///" in link else link)
        if urlsplit(target)[:2] == urlsplit(url)[:2]:
            return target
        warning = "The source's next page is on another host, where its token must not go: pages were read by offset."
        if warning not in self.warnings:
            self.warnings.append(warning)
        return None


def page_url(base: str, name: str, limit: int, offset: int, query: Mapping[str, str]) -> str:
    """Returns the URL of a page of the collection `name`: the rows from `offset` on, at most `limit`."""
    pairs = {"limit": str(limit), "offset": str(offset), **query}
    return f"{base}/{name}?" + "&".join(f"{key}={quote(value, safe='~')}" for key, value in pairs.items())


def parse_json(body: bytes, charset: str = "") -> Any:
    """Parses JSON, accepting a byte order mark, lone surrogates and control characters; raises `ValueError`.

    JSON is UTF-8. A body in another encoding is decoded only with the `charset` that the source states: with a guessed
    encoding, letters of names could be lost.
    """
    collecting = gc.isenabled()
    gc.disable()  # a page being parsed has no garbage, and garbage collection would take a third of the time
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            content = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            if charset not in CHARSETS:
                raise
            content = body.decode(CHARSETS[charset])
        return json.loads(content, strict=False)
    finally:
        if collecting:
            gc.enable()


def _charset(content_type: str) -> str:
    """Returns the charset that a `Content-Type` header states, in small letters, or an empty string."""
    stated = re.search(r"charset\s*=\s*\"?([\w.:-]+)", content_type, re.IGNORECASE | re.ASCII)
    return stated[1].lower() if stated else ""


def extract_rows(name: str, content: Any) -> list[Any]:
    """Returns the rows in the JSON of a page. The status of the response is not considered.

    Raises `SourceRefused` if the JSON has no list of rows, or if it reports a failure.
    """
    if isinstance(content, list):
        return content
    failed = isinstance(content, dict) and any(
        key.lower().endswith("codemajor") and str(value).lower() == "failure" for key, value in content.items()
    )
    if isinstance(content, dict) and not failed:
        keys = [key for key in content if key.lower() in (name.lower(), ENVELOPES.get(name, name).lower())]
        rows = content[keys[0]] if keys else None
        if isinstance(rows, dict) and any(key.lower() == "sourcedid" for key in rows):
            return [rows]
        if isinstance(rows, list):
            return rows
    raise CollectionRefused(
        f"The source answers for {name} with something other than a list{_codes(content)}: no "
        "row is removed. Try again later, or ask its vendor."
    )


def sourced_ids(rows: list[Any]) -> list[str]:
    """Returns the ids of rows.

    It is faster than `sourced_id` for each row if all ids are non-empty strings, as is usual.
    """
    try:
        ids = list(map(_ID, rows))
    except (KeyError, TypeError):
        return list(map(sourced_id, rows))
    return ids if all(ids) and set(map(type, ids)) <= {str} else list(map(sourced_id, rows))


def sourced_id(row: Any) -> str:
    """Returns the id of a row. For a row without an id, returns a text that identifies the row's content."""
    if isinstance(row, dict):
        value = row.get("sourcedId")
        if value is None:
            value = next((value for key, value in row.items() if key.lower() == "sourcedid"), None)
        if isinstance(value, str | int) and value != "":
            return str(value)
    return f"\0{hash(repr(row))}"


def _codes(content: Any) -> str:
    """Returns the OneRoster error codes in a response, without any free text."""
    codes = (
        re.findall(r"'imsx_codeMinorFieldValue': '([^']*)'", str(content)[:10_000]) if isinstance(content, dict) else []
    )
    words = sorted({code for code in codes if _WORDS.fullmatch(code)})
    return f" ({', '.join(words)})" if words else ""


def _garbled_sentence(name: str, offset: int, body: bytes) -> str:
    """Returns a sentence that says that a page of a collection is not JSON, without quoting the page."""
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    what = {b"": "nothing", b"<": "a web page"}.get(start, "JSON that breaks off or is malformed")
    if offset:
        return (
            f"The source answers for {name} with {what} from row {offset + 1:,} on: try again later, set a lower "
            "--page-size of the source, or ask its vendor."
        )
    return (
        f"The source answers for {name} with {what}: check the source's --url, which `aimline sis doctor` looks for, "
        "or ask its vendor."
    )


def _encoding_sentence(name: str, offset: int, error: UnicodeDecodeError) -> str:
    """Returns a sentence that says that a page of a collection is not UTF-8, without quoting the page."""
    looks = guess_encoding(error.object[error.start : error.start + GUESSED])
    row = f" from row {offset + 1:,} on" if offset else ""
    return (
        f"The source answers for {name} with text that is not UTF-8{row}; it looks like {looks}. Names would be read "
        "wrongly: ask its vendor to send UTF-8, or to state the charset."
    )


def _following(header: str) -> str | None:
    for target, more in _NEXT.findall(header):
        if re.search(r"""\brel\s*=\s*["']?[^"';,]*\bnext\b""", more, re.IGNORECASE):
            return str(target)
    return None


def _status_error(status: int, name: str) -> str:
    if 300 <= status < 400:
        return (
            f"The source redirects {name} to another address, which is not followed: set the source's url to its "
            "new address."
        )
    return f"The source answers {status} for {name}: check its settings; `aimline sis doctor` checks each."

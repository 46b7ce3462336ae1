"""Owns one page of one collection: its URL, its envelope, what its status means, the headers beside it. No paging.

Nothing that an answer says in free text is told: it may hold a name.
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

from app.sis.oneroster_rest.connection import GRADES, Connection
from app.sis.oneroster_rest.signin import credentials
from app.sis.oneroster_rest.walk import WalkPage
from app.sis.oneroster_rest.wire import Answer, Wire
from app.sis.port import SourceRefused

ENVELOPES: Final = {
    "schools": "orgs",
    "terms": "academicSessions",
    "gradingPeriods": "academicSessions",
    "students": "users",
    "teachers": "users",
}
"""The keys of lists that are not named as their path is."""

ABSENT: Final = frozenset({403, 404, 405, 410, 501})
GARBLED: Final = 3  # answers in a row that are no JSON, after which no other is asked for
SHARED: Final = 4  # refused tokens of one request, after which it is tried alone
_ID = itemgetter("sourcedId")
_NEXT = re.compile(r"<([^>]*)>([^<]*)")
_REVISION = re.compile(r"x-[a-z-]*(revision|snapshot|generation)")
_WORDS = re.compile(r"[a-z_]{3,40}")


class CollectionAbsent(Exception):
    """The collection is not there, or not for us: 403, 404 and their like."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class BadQuery(Exception):
    """The source does not take what was asked: 400 or 422."""


@dataclass(slots=True)
class Reader:
    """Reads pages of a source, authorised."""

    wire: Wire
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection: Connection = self.wire.connection
        self.credentials = credentials(self.wire, self.warnings)
        self._alone, self._one_by_one = False, asyncio.Lock()
        self.bases = {False: self.connection.rostering, True: self.connection.gradebook}

    connection: Connection = field(init=False)
    credentials: Any = field(init=False)
    bases: dict[bool, str] = field(init=False)
    _alone: bool = field(init=False)
    _one_by_one: asyncio.Lock = field(init=False)

    async def page(self, name: str, limit: int, offset: int, query: Mapping[str, str], link: str | None) -> WalkPage:
        """A page. Raises `CollectionAbsent` and `BadQuery`; behind the first page these mean that there is no more."""
        url = link or page_url(self.bases[name in GRADES], name, limit, offset, query)
        garbled = 0
        while True:
            answer = await self.get(url)
            if answer.status in ABSENT or answer.status in (400, 401, 422):
                if offset and answer.status != 401:
                    return WalkPage([], [], refused=True)
                if answer.status in (400, 422):
                    raise BadQuery
                raise CollectionAbsent(answer.status)
            if answer.status != 200:
                raise SourceRefused(_unfit(answer.status, name))
            try:
                return self._read(name, url, answer)
            except (ValueError, RecursionError):  # the latter: lists in lists without end
                garbled += 1
                if garbled >= GARBLED:
                    raise SourceRefused(
                        f"The source answers for {name} with something that is no JSON: check the source's url; "
                        "`aimline sis doctor` looks for the right one."
                    ) from None
                await asyncio.sleep(self.connection.patience.first * garbled)

    async def get(self, url: str) -> Answer:
        """An authorised answer; 401 only once renewing did not help.

        Where a token dies of a few uses, other requests use up each new one: then one request goes after the other."""
        for _ in range(SHARED):
            if self._alone:
                break
            answer, again = await self._try(url)
            if not again:
                return answer
        self._alone = True
        async with self._one_by_one:
            answer, again = await self._try(url)
            left = self.connection.concurrency + SHARED  # those under way may still use up as many
            while again and left:
                answer, again = await self._try(url)
                left -= 1
            if answer.status == 401:
                self._alone = False  # it is refused for itself, and not for the use of its token
            return answer

    async def _try(self, url: str) -> tuple[Answer, bool]:
        """An answer, and whether another try may do better."""
        used = ""

        async def authorised() -> Mapping[str, str]:
            nonlocal used
            used = await self.credentials.header("GET", url)
            return {"Authorization": used}

        answer = await self.wire.ask("GET", url, authorised)
        if answer.status != 401:
            self.credentials.accept(used)
            return answer, False
        return answer, await self.credentials.renew(used)

    def _read(self, name: str, url: str, answer: Answer) -> WalkPage:
        rows = extract_rows(name, parse_json(answer.body))
        total = answer.headers.get("x-total-count", "").strip()
        link = answer.headers.get("link")
        following = _following(link) if link is not None else None
        revision = [f"{one}={value}" for one, value in answer.headers.items() if _REVISION.fullmatch(one)]
        return WalkPage(
            rows,
            sourced_ids(rows),
            int(total) if total.isascii() and total.isdigit() else None,
            None if link is None else following is not None,
            ";".join(sorted(revision)) or None,
            self._beyond(url, following),
        )

    def _beyond(self, url: str, link: str | None) -> str | None:
        """A `next` that our own offset cannot stand for, if it is on the host of the settings: the token goes nowhere
        else."""
        if link is None or "offset" in parse_qs(urlsplit(link).query, keep_blank_values=True):
            return None
        there = urljoin(url, link.partition(":///")[2].join(("/", "")) if ":///" in link else link)
        if urlsplit(there)[:2] == urlsplit(url)[:2]:
            return there
        odd = "The source's next page is on another host, where its token must not go: pages were asked for by offset."
        if odd not in self.warnings:
            self.warnings.append(odd)
        return None


def page_url(base: str, name: str, limit: int, offset: int, query: Mapping[str, str]) -> str:
    """The URL of a page."""
    pairs = {"limit": str(limit), "offset": str(offset), **query}
    return f"{base}/{name}?" + "&".join(f"{key}={quote(value, safe='~')}" for key, value in pairs.items())


def parse_json(body: bytes) -> Any:
    """JSON, also where it has a byte order mark, half a surrogate or bare control characters. Raises `ValueError`."""
    collecting = gc.isenabled()
    gc.disable()  # nothing of a page is garbage yet: looking for it while it is made is a third of the time
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body.decode("utf-8-sig", "replace"), strict=False)
    finally:
        if collecting:
            gc.enable()


def extract_rows(name: str, said: Any) -> list[Any]:
    """The rows of a list's envelope. Raises `SourceRefused` where it is none, whatever the status was."""
    if isinstance(said, list):
        return said
    failed = isinstance(said, dict) and any(
        key.lower().endswith("codemajor") and str(value).lower() == "failure" for key, value in said.items()
    )
    if isinstance(said, dict) and not failed:
        keys = [key for key in said if key.lower() in (name.lower(), ENVELOPES.get(name, name).lower())]
        found = said[keys[0]] if keys else None
        if isinstance(found, dict):
            return [found]
        if isinstance(found, list):
            return found
    raise SourceRefused(
        f"The source answers for {name} with something else than a list of them{_codes(said)}: "
        "nothing is taken for gone. Try again later, or ask its vendor."
    )


def sourced_ids(rows: list[Any]) -> list[str]:
    """Each row's id; almost always they are all there, and strings."""
    try:
        found = list(map(_ID, rows))
    except (KeyError, TypeError):
        return list(map(sourced_id, rows))
    return found if all(found) and set(map(type, found)) <= {str} else list(map(sourced_id, rows))


def sourced_id(row: Any) -> str:
    """A row's id; of a row without one, something that stands for its content."""
    if isinstance(row, dict):
        found = row.get("sourcedId")
        if found is None:
            found = next((value for key, value in row.items() if key.lower() == "sourcedid"), None)
        if isinstance(found, str | int) and found != "":
            return str(found)
    return f"\0{hash(repr(row))}"


def _codes(said: Any) -> str:
    """The standard's own words for what is wrong; nothing that could be a sentence."""
    found = re.findall(r"'imsx_codeMinorFieldValue': '([^']*)'", str(said)[:10_000]) if isinstance(said, dict) else []
    words = sorted({one for one in found if _WORDS.fullmatch(one)})
    return f" ({', '.join(words)})" if words else ""


def _following(header: str) -> str | None:
    for target, more in _NEXT.findall(header):
        if re.search(r"""\brel\s*=\s*["']?[^"';,]*\bnext\b""", more, re.IGNORECASE):
            return str(target)
    return None


def _unfit(status: int, name: str) -> str:
    if 300 <= status < 400:
        return (
            f"The source sends us from {name} to another place, which is not followed: set the source's url to where "
            "it is now."
        )
    return f"The source answers {status} for {name}: check its settings; `aimline sis doctor` looks at each."

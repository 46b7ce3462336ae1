"""Inspects a source for an operator without writing anything (`aimline sis doctor`). Reports no value of a row.

The checks are separate, so that a check that fails does not prevent the others. This file exceeds 250 lines because
there are many checks.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from app.sis.oneroster_rest.collections import COLLECTIONS, IN_12_ONLY, Collection, missing_sentence
from app.sis.oneroster_rest.connection import GRADEBOOK, GRADES, ROSTERING, Connection, RetryPolicy
from app.sis.oneroster_rest.pull import open_rest
from app.sis.oneroster_rest.reader import BadQuery, CollectionAbsent, Reader
from app.sis.oneroster_rest.signin import BearerToken
from app.sis.oneroster_rest.walk import WalkPage
from app.sis.oneroster_rest.wire import Wire
from app.sis.port import OpenedSource, SourceInconsistent, SourceRefused

SHORT: Final = RetryPolicy(tries=3, first=0.3, longest=5.0, total=15.0, answer=30.0, whole=60.0)
MAX_SECONDS: Final = 900.0  # Seconds that a whole inspection may take.
TOKENS: Final = ("/oauth/token", "/oauth2/token", "/token", "/connect/token")
BASES: Final = {
    "1.1": ("/ims/oneroster/v1p1", "/v1p1", "/learningdata/v1"),
    "1.2": (
        *("/ims/oneroster/rostering/v1p2", "/ims/oneroster/v1p2", "/ims/oneroster/v1p1"),
        *("/v1p2", "/v1p1", "/learningdata/v1"),
    ),
}
AUTHS: Final[tuple[Literal["oauth2-basic", "oauth2-body", "oauth1"], ...]] = ("oauth2-basic", "oauth2-body", "oauth1")
MAX_PAGE_ROWS: Final = 10_000  # The rows requested in one page, to find the largest possible page size.
PAST, FUTURE = "1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
SAMPLE: Final = 100
CANNOT_READ: Final = "A sync cannot read this source as it is set."
CAN_READ: Final = {
    0: "A sync can read this source.",
    3: "A sync can read this source, but not all of it: it would end with exit code 3.",
    4: "A sync can read this source, but would be held: it would end with exit code 4.",
    6: "A sync can read this source, but not while it changes: it would end with exit code 6.",
}


@dataclass(slots=True)
class Findings:
    """What an inspection of a source has found.

    * `ready`: whether the source can be read with its present settings.
    * `exit_code`: the exit code with which a run would end.
    * `sentences`: the findings in words. `facts`: the findings as JSON.
    """

    ready: bool = False
    exit_code: int = 5
    sentences: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, sentence: str, **facts: Any) -> None:
        """Adds a sentence to the findings, and the facts that it states."""
        self.sentences.append(sentence)
        self.facts.update(facts)


Judge = Callable[[OpenedSource], Awaitable[tuple[int, list[str]]]]
"""A function that plans what a run would do with a source that was read.

It returns the exit code of the run, and sentences about it.
"""


async def explore(connection: Connection, judge: Judge | None = None) -> Findings:
    """Inspects a source and returns the findings. Writes nothing, and does not raise for faults of the source.

    `judge` gets everything that was read, and returns the exit code with which a run would end. Without `judge`, the
    exit code depends only on whether everything could be read.
    """
    findings = Findings()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            await _explore(replace(connection, patience=SHORT), findings)
    except TimeoutError:
        findings.ready = False
        findings.add(f"The source is so slow that the inspection was stopped after {MAX_SECONDS / 60:.0f} minutes.")
    if findings.ready:
        await _read_all(replace(connection, patience=SHORT), findings, judge)
    findings.add(CAN_READ[findings.exit_code] if findings.ready else CANNOT_READ)
    return findings


async def _read_all(connection: Connection, findings: Findings, judge: Judge | None) -> None:
    """Reads every collection to its end, as a run would. Adds the result and the warnings to the findings."""
    try:
        async with open_rest(connection, since=None, progress=lambda _step, _done, _of: None) as source:
            findings.exit_code = 3 if getattr(source, "failed", None) or getattr(source, "partial", None) else 0
            if judge is None:
                findings.sentences += source.warnings
            else:
                findings.exit_code, sentences = await judge(source)
                findings.sentences += sentences
    except SourceInconsistent as error:
        findings.exit_code = 6
        findings.add(error.detail)
    except SourceRefused as error:
        findings.ready = False
        findings.add(error.detail)


async def _explore(connection: Connection, findings: Findings) -> None:
    working = await _find_base(connection, findings) if connection.auth == "oauth1" else None
    if working is None:  # there is no signature, or it is refused
        findings.sentences.clear()
        signed = await _sign_in(connection, findings)
        working = await _find_base(signed, findings) if signed else None
    if working is not None:
        findings.facts["settings"] = {"auth": working.auth, "url": working.url, "token_url": working.token_url}
        await _collections(working, findings)
        await _deltas(working, findings)
    missing = _missing_options(connection, working, findings.facts) if working is not None and findings.ready else []
    if missing:
        findings.ready = False  # a sync uses the settings, not the findings
        findings.add(f"Change the settings first: aimline sis set NAME --district DISTRICT {' '.join(missing)}")


def _missing_options(current: Connection, working: Connection, facts: dict[str, Any]) -> list[str]:
    """Returns the command-line options that would correct the settings of the source.

    `current` has these settings, and `working` the settings with which the source could be read.
    """
    signs = f"{working.auth}{'-sha1' if working.auth == 'oauth1' and working.signature == 'HMAC-SHA1' else ''}"
    as_set = f"{current.auth}{'-sha1' if current.auth == 'oauth1' and current.signature == 'HMAC-SHA1' else ''}"
    options = [f"--url {working.url}"] if working.url.rstrip("/") != current.url.rstrip("/") else []
    if working.auth != "oauth1" and working.token_url != current.token_url:
        options.append(f"--token-url {working.token_url}")
    facts["settings"]["auth"] = signs
    default_gradebook = replace(working, gradebook_url=current.gradebook_url).gradebook
    grades = (working.gradebook_url or default_gradebook).rstrip("/")
    if grades != default_gradebook and not current.leave_out >= GRADES:
        options.append(f"--gradebook-url {grades}")
    return [*options, f"--auth {signs}"] if signs != as_set else options


@asynccontextmanager
async def _reading(connection: Connection) -> AsyncIterator[Reader]:
    async with Wire(connection) as wire:
        yield Reader(wire)


async def _sign_in(connection: Connection, findings: Findings) -> Connection | None:
    """Finds a method of sign-in that the token endpoint accepts.

    Returns a connection that uses this method, or None if no method is accepted. OAuth 1.0a, which signs each request,
    cannot be tested here. It is tested when a collection is read.
    """
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(connection.url))
    urls = [connection.token_url] if connection.token_url else [origin + path for path in TOKENS]
    works: dict[str, Connection] = {}
    why = ""
    for url in urls:
        for auth in AUTHS[:2]:
            attempt = replace(connection, auth=auth, token_url=url)
            try:
                async with Wire(attempt) as wire:
                    token = BearerToken(wire, [])
                    await token.header("GET", attempt.url)
            except SourceRefused as error:
                why = why or error.detail
                continue
            works[auth] = attempt
            if len(works) == 1:
                _report_token(token, findings)
        if works:
            break
    findings.facts["token_auth"] = sorted(works)
    if works:
        names = " and ".join("the Basic header" if auth == "oauth2-basic" else "the body" for auth in works)
        findings.add(
            f"The token endpoint accepts the client in {names}.", token_url=next(iter(works.values())).token_url
        )
        return works.get(connection.auth) or next(iter(works.values()))
    if connection.version == "1.1":
        findings.add(f"No token was issued: {why} OAuth 1.0a is tried.")
        return replace(connection, auth="oauth1")
    findings.add(f"No token was issued: {why}")
    return None


def _report_token(token: BearerToken, findings: Findings) -> None:
    life = f"{token.lifetime:,.0f} s" if token.lifetime else "an unknown time"
    granted = token.known_scopes
    names = ", ".join(scope.rpartition("/")[2] for scope in granted) or "no scope"
    findings.add(f"A token lasts {life}, with {names}.", token_lifetime=token.lifetime, scopes=list(granted))
    missing = set(token.requested) - set(granted)
    if missing:
        findings.add(f"Not granted: {', '.join(sorted(scope.rpartition('/')[2] for scope in missing))}.")


async def _find_base(connection: Connection, findings: Findings) -> Connection | None:
    """Finds a base address at which organizations can be read.

    Returns a connection that uses this address, or None if no address works. The configured base address is tried
    first.
    """
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(connection.url))
    urls = dict.fromkeys([connection.url.rstrip("/"), *(origin + path for path in BASES[connection.version])])
    auths: list[Connection] = [connection]
    if connection.auth == "oauth1":
        others = (replace(connection, signature="HMAC-SHA256"), replace(connection, signature="HMAC-SHA1"))
        auths += [candidate for candidate in others if candidate.signature != connection.signature]
    answers: dict[str, str] = {}
    works: list[Connection] = []
    for url in urls:
        for attempt in (replace(candidate, url=url) for candidate in auths):
            try:
                async with _reading(attempt) as reader:
                    await reader.page("orgs", 1, 0, {}, None)
            except (CollectionAbsent, BadQuery) as error:
                answers[url] = str(getattr(error, "status", 400))
            except SourceRefused as error:
                answers[url] = error.detail
            else:
                answers[url] = "200"
                works.append(attempt)
                break
    findings.facts["bases"] = answers
    if not works:
        findings.add("No base answers for orgs: " + "; ".join(f"{urlsplit(u).path}: {a}" for u, a in answers.items()))
        return None
    signed = f", signed with {works[0].signature}" if works[0].auth == "oauth1" else ""
    findings.add(
        f"Rostering answers under {', '.join(urlsplit(candidate.url).path or '/' for candidate in works)}{signed}."
    )
    return await _with_gradebook(works[0], findings)


async def _with_gradebook(connection: Connection, findings: Findings) -> Connection:
    """Finds the base address at which the gradebook answers, and returns a connection that uses this address.

    If there is no such address, the connection is returned unchanged.
    """
    base = connection.url.rstrip("/")
    urls = dict.fromkeys(filter(None, (connection.gradebook_url, base.replace(ROSTERING, GRADEBOOK), base)))
    for url in urls:
        attempt = replace(connection, gradebook_url=url)
        with suppress(SourceRefused, CollectionAbsent, BadQuery):
            async with _reading(attempt) as reader:
                await reader.page("lineItems", 1, 0, {}, None)
            findings.add(f"The gradebook answers under {urlsplit(url).path or '/'}.", gradebook_url=url)
            return attempt
    findings.add("The gradebook does not answer: there will be no grades.", gradebook_url=None)
    return connection


async def _collections(connection: Connection, findings: Findings) -> None:
    """Checks for each collection whether it exists, how many rows it reports, and which headers its page has."""
    results: dict[str, Any] = {}
    pages: dict[str, WalkPage] = {}
    async with _reading(connection) as reader:
        for collection in COLLECTIONS:
            if connection.version == "1.1" and collection.name in IN_12_ONLY:
                continue
            try:
                page = pages[collection.name] = await reader.page(collection.name, SAMPLE, 0, {}, None)
                results[collection.name] = {"status": 200, "total": page.total, "sampled": len(page.rows)}
            except (CollectionAbsent, BadQuery) as error:
                results[collection.name] = {"status": getattr(error, "status", 400)}
            except SourceRefused as error:
                results[collection.name] = {"error": error.detail}
        findings.facts["collections"] = results
        readable = [f"{name} ({_number(results[name]['total'])})" for name in pages]
        findings.add(f"There are {', '.join(readable)}.")
        if unreadable := [name for name in results if name not in pages]:
            findings.add(f"Not readable: {', '.join(unreadable)}.")
        for collection in COLLECTIONS:
            if not collection.optional and collection.name in unreadable:
                findings.add(_reason(collection, results[collection.name]))
        findings.facts["settings"]["leave_out"] = [
            name for name in unreadable if name in GRADES or name == "demographics"
        ]
        findings.ready = all(collection.name in pages for collection in COLLECTIONS if not collection.optional)
        _headers(list(pages.values()), findings)
        with suppress(SourceRefused, CollectionAbsent, BadQuery):
            await _cap(reader, connection, pages, findings)


def _reason(collection: Collection, result: dict[str, Any]) -> str:
    """Returns why a collection that a roster needs cannot be read."""
    return str(result["error"]) if "error" in result else missing_sentence(collection, result["status"])


def _headers(pages: list[WalkPage], findings: Findings) -> None:
    for name, comes in (
        ("X-Total-Count", any(page.total is not None for page in pages)),
        ("Link", any(page.more is not None for page in pages)),
        ("a revision", any(page.revision is not None for page in pages)),
    ):
        findings.facts.setdefault("headers", {})[name] = comes
    present = [name for name, is_present in findings.facts["headers"].items() if is_present]
    findings.add(f"A page comes with {' and '.join(present)}." if present else "A page comes with no further headers.")


async def _cap(reader: Reader, connection: Connection, pages: dict[str, WalkPage], findings: Findings) -> None:
    name = max(pages, key=lambda title: (pages[title].total or 0, len(pages[title].rows)))
    page = await reader.page(name, MAX_PAGE_ROWS, 0, {}, None)
    came = len(page.rows)
    following = await reader.page(name, 1, came, {}, None) if 0 < came < MAX_PAGE_ROWS else WalkPage([], [])
    more = not set(following.ids) <= set(page.ids)  # a source that ignores the offset sends the first row again
    findings.facts["page_cap"] = came if more else None
    findings.facts["settings"]["page_size"] = min(connection.page_size, came) if more else connection.page_size
    if more:
        findings.add(f"A page has at most {came:,} rows, whatever is requested.")
    else:
        findings.add(f"A page was not cut: {came:,} rows came at once.")


async def _deltas(connection: Connection, findings: Findings) -> None:
    """Checks whether the source can send only the rows that have changed, and whether it reports removed rows."""
    async with _reading(connection) as reader:

        async def filtered(name: str, clause: str) -> WalkPage | None:
            try:
                return await reader.page(name, SAMPLE, 0, {"filter": clause}, None)
            except (CollectionAbsent, BadQuery, SourceRefused):
                return None

        if not findings.ready:  # what a filter does shows only where users can be read without it
            return
        past, future = [await filtered("users", f"dateLastModified>'{when}'") for when in (PAST, FUTURE)]
        works = bool(past and past.rows and future is not None and not future.rows)
        findings.facts["delta"] = works
        if past is None or future is None:
            findings.add(
                "Changes cannot be requested: the filter by dateLastModified is refused. Sync in full (--full)."
            )
        elif future.rows:
            findings.add("The filter by dateLastModified does nothing: every sync is in full.")
        elif not past.rows:
            findings.add(
                "The filter by dateLastModified finds nothing: rows have no time of change. Sync in full (--full)."
            )
        elif len(past.rows) > 1 and len({_changed(row) for row in past.rows}) == 1:
            findings.facts["delta"] = False
            findings.add(
                "All users seem to have changed at the same time, that of a refresh or a first load: a delta may "
                "be everything or nothing."
            )
        else:
            findings.add("Changes can be requested separately.")
        pages = [await filtered(name, "status='tobedeleted'") for name in ("enrollments", "users")]
        removed = [page for page in pages if page is not None and any(_is_gone(row) for row in page.rows)]
        findings.facts["tobedeleted"] = bool(removed)
        findings.add(
            "Removed rows are reported (tobedeleted)."
            if removed
            else "No removed row was found: only a full sync detects removals."
        )


def _changed(row: Any) -> Any:
    return row.get("dateLastModified") if isinstance(row, dict) else None


def _is_gone(row: Any) -> bool:
    return isinstance(row, dict) and str(row.get("status")).lower() in ("tobedeleted", "inactive")


def _number(total: int | None) -> str:
    return "an unknown number" if total is None else f"{total:,}"

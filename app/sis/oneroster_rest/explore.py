"""Owns what can be found out of a source without writing anything: `aimline sis doctor`. Never tells a value of a row.

Each question is asked by itself, so that one that fails leaves the others. Longer than most: there are many questions.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from app.sis.oneroster_rest.connection import GRADEBOOK, GRADES, ROSTERING, Connection, RetryPolicy
from app.sis.oneroster_rest.pull import COLLECTIONS, IN_12_ONLY
from app.sis.oneroster_rest.reader import BadQuery, CollectionAbsent, Reader
from app.sis.oneroster_rest.signin import BearerToken
from app.sis.oneroster_rest.walk import WalkPage
from app.sis.oneroster_rest.wire import Wire
from app.sis.port import SourceRefused

SHORT: Final = RetryPolicy(tries=3, first=0.3, longest=5.0, total=15.0, answer=30.0, whole=60.0)
LONGEST: Final = 900.0  # seconds of a whole look
TOKENS: Final = ("/oauth/token", "/oauth2/token", "/token", "/connect/token")
BASES: Final = {
    "1.1": ("/ims/oneroster/v1p1", "/v1p1", "/learningdata/v1"),
    "1.2": (
        *("/ims/oneroster/rostering/v1p2", "/ims/oneroster/v1p2", "/ims/oneroster/v1p1"),
        *("/v1p2", "/v1p1", "/learningdata/v1"),
    ),
}
AUTHS: Final[tuple[Literal["oauth2-basic", "oauth2-body", "oauth1"], ...]] = ("oauth2-basic", "oauth2-body", "oauth1")
MOST: Final = 10_000  # rows that are asked for at once, to see what a page is cut to
PAST, FUTURE = "1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
SAMPLE: Final = 100


@dataclass(slots=True)
class Findings:
    """What was found: sentences for people, the same as JSON, and whether a sync can read what it must as it is set."""

    ready: bool = False
    sentences: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, sentence: str, **facts: Any) -> None:
        """Adds a sentence, and what it rests on."""
        self.sentences.append(sentence)
        self.facts.update(facts)


async def explore(connection: Connection) -> Findings:
    """Asks a source what it is like. Writes nothing; raises nothing for what a source does."""
    found = Findings()
    try:
        async with asyncio.timeout(LONGEST):
            await _explore(replace(connection, patience=SHORT), found)
    except TimeoutError:
        found.ready = False
        found.say(f"The source is so slow that looking at it was given up after {LONGEST / 60:.0f} minutes.")
    found.say("A sync can read this source." if found.ready else "A sync cannot read this source as it is set.")
    return found


async def _explore(connection: Connection, found: Findings) -> None:
    based = await _find_base(connection, found) if connection.auth == "oauth1" else None
    if based is None:  # no signature is set, or none that is taken
        found.sentences.clear()
        signed = await _sign_in(connection, found)
        based = await _find_base(signed, found) if signed else None
    if based is not None:
        found.facts["settings"] = {"auth": based.auth, "url": based.url, "token_url": based.token_url}
        await _collections(based, found)
        await _deltas(based, found)
    unset = _not_as_set(connection, based, found.facts) if based is not None and found.ready else []
    if unset:
        found.ready = False  # a sync uses what is set, not what was found
        found.say(f"Set what was found first: aimline sis set NAME --district DISTRICT {' '.join(unset)}")


def _not_as_set(asked: Connection, works: Connection, facts: dict[str, Any]) -> list[str]:
    """The options that a sync needs, where the source was readable only with others than are set."""
    signs = f"{works.auth}{'-sha1' if works.auth == 'oauth1' and works.signature == 'HMAC-SHA1' else ''}"
    as_set = f"{asked.auth}{'-sha1' if asked.auth == 'oauth1' and asked.signature == 'HMAC-SHA1' else ''}"
    options = [f"--url {works.url}"] if works.url.rstrip("/") != asked.url.rstrip("/") else []
    if works.auth != "oauth1" and works.token_url != asked.token_url:
        options.append(f"--token-url {works.token_url}")
    facts["settings"]["auth"] = signs
    looked_for = replace(works, gradebook_url=asked.gradebook_url).gradebook
    grades = (works.gradebook_url or looked_for).rstrip("/")
    if grades != looked_for and not asked.leave_out >= GRADES:
        options.append(f"--gradebook-url {grades}")
    return [*options, f"--auth {signs}"] if signs != as_set else options


@asynccontextmanager
async def _reading(connection: Connection) -> AsyncIterator[Reader]:
    async with Wire(connection) as wire:
        yield Reader(wire)


async def _sign_in(connection: Connection, found: Findings) -> Connection | None:
    """The connection as its token endpoint takes it. A signature is tried where a collection is."""
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(connection.url))
    urls = [connection.token_url] if connection.token_url else [origin + path for path in TOKENS]
    works: dict[str, Connection] = {}
    why = ""
    for url in urls:
        for auth in AUTHS[:2]:
            tried = replace(connection, auth=auth, token_url=url)
            try:
                async with Wire(tried) as wire:
                    token = BearerToken(wire, [])
                    await token.header("GET", tried.url)
            except SourceRefused as error:
                why = why or error.detail
                continue
            works[auth] = tried
            if len(works) == 1:
                _of_token(token, found)
        if works:
            break
    found.facts["token_auth"] = sorted(works)
    if works:
        names = " and ".join("the Basic header" if auth == "oauth2-basic" else "the body" for auth in works)
        found.say(f"The token endpoint takes the client in {names}.", token_url=next(iter(works.values())).token_url)
        return works.get(connection.auth) or next(iter(works.values()))
    if connection.version == "1.1":
        found.say(f"There is no token to be had: {why} OAuth 1.0a is tried.")
        return replace(connection, auth="oauth1")
    found.say(f"There is no token to be had: {why}")
    return None


def _of_token(token: BearerToken, found: Findings) -> None:
    life = f"{token.lifetime:,.0f} s" if token.lifetime else "a time that is not said"
    granted = token.known_scopes
    names = ", ".join(one.rpartition("/")[2] for one in granted) or "no scope"
    found.say(f"A token lasts {life}, with {names}.", token_lifetime=token.lifetime, scopes=list(granted))
    missing = set(token.wanted) - set(granted)
    if missing:
        found.say(f"Not granted: {', '.join(sorted(one.rpartition('/')[2] for one in missing))}.")


async def _find_base(connection: Connection, found: Findings) -> Connection | None:
    """The first base under which organisations are answered, the set one first."""
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(connection.url))
    urls = dict.fromkeys([connection.url.rstrip("/"), *(origin + path for path in BASES[connection.version])])
    auths: list[Connection] = [connection]
    if connection.auth == "oauth1":
        others = (replace(connection, signature="HMAC-SHA256"), replace(connection, signature="HMAC-SHA1"))
        auths += [one for one in others if one.signature != connection.signature]
    answers: dict[str, str] = {}
    works: list[Connection] = []
    for url in urls:
        for tried in (replace(one, url=url) for one in auths):
            try:
                async with _reading(tried) as reader:
                    await reader.page("orgs", 1, 0, {}, None)
            except (CollectionAbsent, BadQuery) as error:
                answers[url] = str(getattr(error, "status", 400))
            except SourceRefused as error:
                answers[url] = error.detail
            else:
                answers[url] = "200"
                works.append(tried)
                break
    found.facts["bases"] = answers
    if not works:
        found.say("No base answers for orgs: " + "; ".join(f"{urlsplit(u).path}: {a}" for u, a in answers.items()))
        return None
    signed = f", signed with {works[0].signature}" if works[0].auth == "oauth1" else ""
    found.say(f"Rostering answers under {', '.join(urlsplit(one.url).path or '/' for one in works)}{signed}.")
    return await _with_gradebook(works[0], found)


async def _with_gradebook(connection: Connection, found: Findings) -> Connection:
    """The same, with the base of the gradebook that answers."""
    base = connection.url.rstrip("/")
    urls = dict.fromkeys(filter(None, (connection.gradebook_url, base.replace(ROSTERING, GRADEBOOK), base)))
    for url in urls:
        tried = replace(connection, gradebook_url=url)
        with suppress(SourceRefused, CollectionAbsent, BadQuery):
            async with _reading(tried) as reader:
                await reader.page("lineItems", 1, 0, {}, None)
            found.say(f"The gradebook answers under {urlsplit(url).path or '/'}.", gradebook_url=url)
            return tried
    found.say("The gradebook does not answer: there will be no grades.", gradebook_url=None)
    return connection


async def _collections(connection: Connection, found: Findings) -> None:
    """Which collections there are, how many rows each says it has, and what comes beside a page."""
    told: dict[str, Any] = {}
    pages: dict[str, WalkPage] = {}
    async with _reading(connection) as reader:
        for one in COLLECTIONS:
            if connection.version == "1.1" and one.name in IN_12_ONLY:
                continue
            try:
                page = pages[one.name] = await reader.page(one.name, SAMPLE, 0, {}, None)
                told[one.name] = {"status": 200, "total": page.total, "sampled": len(page.rows)}
            except (CollectionAbsent, BadQuery) as error:
                told[one.name] = {"status": getattr(error, "status", 400)}
            except SourceRefused as error:
                told[one.name] = {"error": error.detail}
        found.facts["collections"] = told
        here = [f"{name} ({_number(told[name]['total'])})" for name in pages]
        found.say(f"There are {', '.join(here)}.")
        if gone := [name for name in told if name not in pages]:
            found.say(f"Not to be read: {', '.join(gone)}.")
        found.facts["settings"]["leave_out"] = [name for name in gone if name in GRADES or name == "demographics"]
        found.ready = all(one.name in pages for one in COLLECTIONS if not one.optional)
        _headers(list(pages.values()), found)
        with suppress(SourceRefused, CollectionAbsent, BadQuery):
            await _cap(reader, connection, pages, found)


def _headers(pages: list[WalkPage], found: Findings) -> None:
    for name, comes in (
        ("X-Total-Count", any(page.total is not None for page in pages)),
        ("Link", any(page.more is not None for page in pages)),
        ("a revision", any(page.revision is not None for page in pages)),
    ):
        found.facts.setdefault("headers", {})[name] = comes
    beside = [name for name, yes in found.facts["headers"].items() if yes]
    found.say(f"Beside a page comes {' and '.join(beside)}." if beside else "Nothing comes beside a page.")


async def _cap(reader: Reader, connection: Connection, pages: dict[str, WalkPage], found: Findings) -> None:
    name = max(pages, key=lambda one: (pages[one].total or 0, len(pages[one].rows)))
    page = await reader.page(name, MOST, 0, {}, None)
    came = len(page.rows)
    more = came < MOST and bool((await reader.page(name, 1, came, {}, None)).rows) if came else False
    found.facts["page_cap"] = came if more else None
    found.facts["settings"]["page_size"] = min(connection.page_size, came) if more else connection.page_size
    if more:
        found.say(f"A page has no more than {came:,} rows, whatever is asked for.")
    else:
        found.say(f"A page was not cut: {came:,} rows came at once.")


async def _deltas(connection: Connection, found: Findings) -> None:
    """Whether changes alone can be asked for, and whether removals are told."""
    async with _reading(connection) as reader:

        async def asked(name: str, clause: str) -> WalkPage | None:
            try:
                return await reader.page(name, SAMPLE, 0, {"filter": clause}, None)
            except (CollectionAbsent, BadQuery, SourceRefused):
                return None

        past, future = [await asked("users", f"dateLastModified>'{when}'") for when in (PAST, FUTURE)]
        works = bool(past and past.rows and future is not None and not future.rows)
        found.facts["delta"] = works
        if past is None or future is None:
            found.say("Changes alone cannot be asked for: the filter by dateLastModified is refused. Sync in full.")
        elif future.rows:
            found.say("The filter by dateLastModified does nothing: every sync is in full.")
        elif not past.rows:
            found.say("The filter by dateLastModified finds nothing: rows do not say when they changed. Sync in full.")
        elif len(past.rows) > 1 and len({_changed(row) for row in past.rows}) == 1:
            found.facts["delta"] = False
            found.say(
                "All users seem to have changed at the same time, that of a refresh or a first load: a delta may "
                "be everything or nothing."
            )
        else:
            found.say("Changes alone can be asked for.")
        gone = [await asked(name, "status='tobedeleted'") for name in ("enrollments", "users")]
        told = [page for page in gone if page is not None and any(_is_gone(row) for row in page.rows)]
        found.facts["tobedeleted"] = bool(told)
        found.say(
            "Removed rows are told (tobedeleted)."
            if told
            else "No removed row was seen: what is gone shows in a full sync only."
        )


def _changed(row: Any) -> Any:
    return row.get("dateLastModified") if isinstance(row, dict) else None


def _is_gone(row: Any) -> bool:
    return isinstance(row, dict) and str(row.get("status")).lower() in ("tobedeleted", "inactive")


def _number(total: int | None) -> str:
    return "an unknown number" if total is None else f"{total:,}"

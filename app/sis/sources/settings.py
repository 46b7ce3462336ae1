"""Defines and validates the settings of a source. Reads no row, decrypts no secret, opens no connection.

This file exceeds 250 lines so that all settings and their limits are in one place.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import urlsplit

from app.core.address import Allowed, validate_url
from app.core.clock import now
from app.core.errors import Invalid, Violation
from app.core.inputs import About, AtMost, Choices, ObjectOf
from app.core.text import Text
from app.core.violations import UNREAD, Violations, broken_rules, known_values, partial_input, with_values
from app.sis.guard import GuardLimits
from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.sources.address import HIDDEN, is_local, path_of
from app.sis.sources.mapping import mapping_violations
from app.sis.sources.schedule import has_run, is_cron


class SourceKind(StrEnum):
    """The kinds of sources."""

    ONEROSTER_1_1 = "oneroster-1.1"
    ONEROSTER_1_2 = "oneroster-1.2"
    ONEROSTER_CSV = "oneroster-csv"
    SCORES_CSV = "scores-csv"


class SourceAuth(StrEnum):
    """The methods of authentication at a source."""

    OAUTH2_BASIC = "oauth2-basic"
    OAUTH2_BODY = "oauth2-body"
    OAUTH1 = "oauth1"
    OAUTH1_SHA1 = "oauth1-sha1"


KINDS: Final = tuple(kind.value for kind in SourceKind)
FILE_KINDS: Final = (SourceKind.ONEROSTER_CSV.value, SourceKind.SCORES_CSV.value)
"""The kinds that are read from files: roster zips, and CSV files of scores."""
AUTHS: Final = {
    "oneroster-1.1": ("oauth2-basic", "oauth2-body", "oauth1", "oauth1-sha1"),
    "oneroster-1.2": ("oauth2-basic", "oauth2-body"),
    "oneroster-csv": (),
    "scores-csv": (),
}
"""The methods of authentication by kind of source; the first is the default. `oauth1` signs with HMAC-SHA256."""
LIMITS: Final = {name: float if hint is float else int for name, hint in get_type_hints(GuardLimits).items()}
ROLLOVER_LIMITS: Final = {"removed": 1.0, "changed": 1.0, "lost": 1.0}
"""The default limits while the school year changes. Even then, a run with an empty collection is held."""
MAX_ROWS = 10_000_000
MAX_FREEZES = 100
MAX_SCHOOLS, MAX_EXCLUDED = 1000, 20_000  # sourcedIds
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ID = re.compile(r"[\x21-\x7e]{1,500}")
RANGES: Final = {
    "page_size": (1, 100_000),
    "concurrency": (1, 20),
    "jitter_minutes": (0, 720),
    "overlap_hours": (0, 720),
    "pull_minutes": (1, 2880),
    "pull_gb": (1, 1000),
}
_URLS: Final = ("url", "gradebook_url", "token_url")
UPLOADS: Final = "upload:"
"""The `url` of a CSV source without an address, whose files are uploaded."""


@dataclass(frozen=True, slots=True)
class Rollover:
    """The period in which the school year changes, and the limits on a sync's changes in this period.

    `ends_on` is the last day of the period.
    """

    begins_on: Annotated[str, Text(max=10), About("The first day.", "2026-07-01")]
    ends_on: Annotated[str, Text(max=10), About("The last day, included.", "2026-08-31")]
    limits: Annotated[
        Mapping[str, float] | None,
        AtMost(20),
        About(
            "The limits of the guard on these days; by default, `removed`, `changed` and `lost` are 1 (100 %).",
            {"removed": 1.0},
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The settings of a source.

    * `url` is the base of a OneRoster service or the location of a CSV zip: an https address, a file, a folder to which
      zips are added, or `upload:` if each zip is uploaded.
    * `limits` changes some of the default limits on how much one run may change. A run that exceeds a limit is held.
    * `rollover` has `begins_on` and `ends_on` (both included), and the `limits` for these days.
    * `freeze` has pairs of a first and a last day. No run begins on these days or between them.
    * `full_cron` is the schedule of full runs; without it, every run is full.
    * `schools` has the sourcedIds of the schools whose rows are synced; if it is empty, all schools are synced.
    * `excluded_users` has the sourcedIds of users who are not synced.
    * `pull_minutes` and `pull_gb` limit the time and the disk space of reading a OneRoster service, so that a run fails
      if the service sends data without end.
    """

    kind: Annotated[str, Choices(SourceKind, as_text=True), About(f"One of {', '.join(KINDS)}.", "oneroster-1.2")]
    url: Annotated[str, Text(max=2048), About("The address.", "https://sis.example/oneroster")]
    gradebook_url: Annotated[
        str | None, Text(max=2048), About("The address of its gradebook service.", "https://sis.example/gradebook")
    ] = None
    token_url: Annotated[
        str | None, Text(max=2048), About("Where access tokens are issued.", "https://sis.example/oauth/token")
    ] = None
    auth: Annotated[
        str | None,
        Choices(SourceAuth, as_text=True),
        About("oauth2-basic, oauth2-body, oauth1 or oauth1-sha1; by default, the kind's first.", "oauth2-basic"),
    ] = None
    client_id: Annotated[str | None, Text(max=500), About("The client id at the source.", "aimline")] = None
    client_secret: Annotated[
        str | None,
        Text(max=500),
        About("The credential; it is stored encrypted and never returned.", "of-the-source"),
    ] = field(default=None, repr=False)
    scopes: Annotated[
        tuple[str, ...], AtMost(50), About("The scopes that are requested.", ["roster-core.readonly"])
    ] = ()
    page_size: Annotated[int | None, About("The rows of a page; null for the source's own.", 1000)] = None
    concurrency: Annotated[int, About("The number of concurrent requests.", 5)] = 5
    left_out: Annotated[
        tuple[str, ...],
        AtMost(50),
        About("The OneRoster collections that are not requested from the source.", ["demographics"]),
    ] = ()
    schools: Annotated[
        tuple[str, ...],
        AtMost(MAX_SCHOOLS),
        About("The sourcedIds of the schools to which it is restricted; empty for all.", ["school-1"]),
    ] = ()
    excluded_users: Annotated[
        tuple[str, ...], AtMost(MAX_EXCLUDED), About("The sourcedIds of users who are not synced.", ["4711"])
    ] = ()
    limits: Annotated[
        Mapping[str, float], AtMost(20), About("Limits of the guard that differ from the defaults.", {"removed": 0.2})
    ] = field(default_factory=dict)
    rollover: Annotated[
        Mapping[str, Any] | None,
        ObjectOf(Rollover),
        About(
            "The days on which the school year changes, both included, and the guard's limits on these days.",
            {"begins_on": "2026-07-01", "ends_on": "2026-08-31"},
        ),
    ] = None
    mapping: Annotated[
        Mapping[str, Any], AtMost(100), About("Which results become scores, and of which measure.", {"rules": []})
    ] = field(default_factory=dict)
    cron: Annotated[
        str | None,
        Text(max=200),
        About("A cron expression of five fields, in the district's time zone.", "0 2 * * *"),
    ] = None
    jitter_minutes: Annotated[int, About("The number of minutes over which the starts of sources are spread.", 30)] = 30
    freeze: Annotated[
        tuple[tuple[str, ...], ...],
        AtMost(MAX_FREEZES),
        About("The first and last days of periods without runs.", [["2026-12-21", "2027-01-01"]]),
    ] = ()
    full_cron: Annotated[
        str | None, Text(max=200), About("The cron expression of the runs that must be full ones.", "0 3 * * 6")
    ] = None
    overlap_hours: Annotated[int, About("How far back a delta reaches.", 24)] = 24
    pull_minutes: Annotated[int, About("How long a OneRoster service may be read before the run fails.", 360)] = 360
    pull_gb: Annotated[int, About("How much of a delivery may be on the disk at a time.", 20)] = 20


def validate_settings(
    new: SourceSettings, allowed: Allowed, *, name: str, local: bool = False, before: SourceSettings | None = None
) -> SourceSettings:
    """Validates settings, and returns them with addresses in standard form and defaults filled in.

    Raises `Invalid` with every violation. With `local`, `url` may be a file or a folder of this machine. `before` has
    the current settings of the source: if an address changes to another host, the secret must be given again.
    """
    violations = Violations()
    with violations:
        if name is not UNREAD and not NAME.fullmatch(name):
            raise Invalid([Violation("/name", "name.malformed", "1 to 63 letters, digits, dots, hyphens or _.")])
    if "kind" in (known := known_values(new)) and known["kind"] not in KINDS:
        violations.add([Violation("/kind", "kind.unknown", f"The kind is one of {', '.join(KINDS)}.")])
        new = partial_input(SourceSettings, {key: value for key, value in known.items() if key != "kind"})
    urls: dict[str, Any] = {}
    with violations:
        urls, url_violations = _urls(new, allowed, local, before)
        violations.add(url_violations)
    violations.add(broken_rules(_RULES, new))
    with violations:
        if before is None and AUTHS[new.kind] and not new.client_secret:
            raise Invalid([Violation("/client_secret", "client_secret.missing", "A service requires a secret.")])
    with violations:
        needs_secret = before is not None and before.client_id and not new.client_secret
        if before is not None and needs_secret and _moves_host(before, with_values(new, **urls)):
            detail = "The address moves to another host: give the client's secret again."
            raise Invalid([Violation("/client_secret", "secret.again", detail)])
    violations.refuse()
    return replace(new, **urls, auth=new.auth or next(iter(AUTHS[new.kind]), None))


def limits_of(limits: Mapping[str, Any], rollover: Mapping[str, Any] | None, today: date) -> GuardLimits:
    """Returns the limits on the changes of a run that apply to a source on the day `today`.

    `limits` has the limits in the settings of the source. On the days of `rollover`, the limits in `rollover` replace
    them.
    """
    is_rollover = rollover and date.fromisoformat(rollover["begins_on"]) <= today <= date.fromisoformat(
        rollover["ends_on"]
    )
    return GuardLimits(**{**limits, **((rollover or {}).get("limits") or ROLLOVER_LIMITS if is_rollover else {})})


def freeze_of(freeze: Any) -> list[tuple[date, date]]:
    """Returns the periods without runs as pairs of dates. `freeze` has the same pairs as texts, already validated."""
    return [(date.fromisoformat(str(first)), date.fromisoformat(str(last))) for first, last in freeze]


def _urls(
    new: SourceSettings, allowed: Allowed, local: bool, before: SourceSettings | None
) -> tuple[dict[str, Any], list[Violation]]:
    urls: dict[str, Any] = {}
    violations: list[Violation] = []
    for name in _URLS:
        url = getattr(new, name)
        if url is None or (before is not None and url == getattr(before, name)):
            continue  # an unchanged address is checked again at each connection
        if name == "url" and new.kind in FILE_KINDS and url == UPLOADS:
            urls[name] = url
            continue
        if name == "url" and new.kind in FILE_KINDS and is_local(url):
            plain = PurePosixPath(path_of(url))
            if not local:
                detail = "A file or folder of the server can only be set on its command line."
                violations.append(Violation("/url", "url.local", detail))
            elif not plain.is_absolute() or ".." in plain.parts or "\x00" in url:
                violations.append(Violation("/url", "url.malformed", "A file or folder needs its absolute path."))
            urls[name] = str(plain)
            continue
        if name != "url" and new.kind in FILE_KINDS:
            violations.append(Violation(f"/{name}", "setting.unfit", "A CSV source has only one address."))
            continue
        if new.kind not in FILE_KINDS and "?" in url:
            violations.append(Violation(f"/{name}", "url.query", "The address of a OneRoster service has no query."))
        elif any(HIDDEN in (part, part.partition("=")[2]) for part in url.partition("?")[2].split("&")):
            detail = f"Send the whole address: {HIDDEN} only stands for a value that is not shown."
            violations.append(Violation(f"/{name}", "url.hidden", detail))
        try:
            urls[name] = validate_url(url, allowed, f"/{name}")
        except Invalid as error:
            violations += error.violations
    return urls, violations


def _credentials(new: SourceSettings) -> Iterator[Violation]:
    methods = AUTHS[new.kind]
    if new.auth is not None and new.auth not in methods:
        detail = f"The auth is one of {', '.join(methods)}." if methods else "A CSV source has no auth."
        yield Violation("/auth", "auth.unknown", detail)
    for name in ("client_id", "client_secret"):
        value = getattr(new, name)
        if value is not None and not _ID.fullmatch(value):
            yield Violation(f"/{name}", f"{name}.malformed", "1 to 500 printable ASCII characters, without spaces.")
    if methods and not new.client_id:
        yield Violation("/client_id", "client_id.missing", "A OneRoster service requires a client's id and secret.")
    if not methods and (new.client_id or new.client_secret):
        yield Violation("/client_id", "setting.unfit", "A CSV source has no client.")


def _numbers(new: SourceSettings) -> Iterator[Violation]:
    for name, (least, most) in RANGES.items():
        value = getattr(new, name)
        if value is None and name == "page_size":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield Violation(f"/{name}", f"{name}.range", f"A whole number from {least} to {most:,}.")


def _words(new: SourceSettings) -> Iterator[Violation]:
    for name in ("scopes", "left_out"):
        for place, word in enumerate(getattr(new, name)):
            if not isinstance(word, str) or not _ID.fullmatch(word):
                yield Violation(f"/{name}/{place}", f"{name}.malformed", "1 to 500 printable characters, no spaces.")
            elif name == "left_out" and word not in MAY_BE_LEFT_OUT:
                yield Violation(f"/{name}/{place}", "left_out.unknown", f"One of {', '.join(MAY_BE_LEFT_OUT)}.")
    for name, most in (("schools", MAX_SCHOOLS), ("excluded_users", MAX_EXCLUDED)):
        words = getattr(new, name)
        if len(words) > most:
            yield Violation(f"/{name}", f"{name}.too_many", f"At most {most:,} sourcedIds.")
        for place, word in enumerate(words[:most]):
            if not isinstance(word, str) or not 0 < len(word.encode()) <= 255 or word != word.strip() or "\0" in word:
                detail = "A sourcedId has 1 to 255 bytes, without blanks around it."
                yield Violation(f"/{name}/{place}", f"{name}.malformed", detail)


def _limits(limits: Any, pointer: str) -> Iterator[Violation]:
    if not isinstance(limits, Mapping):
        yield Violation(pointer, "limits.malformed", "Limits are an object: a number by the limit's name.")
        return
    for name, value in limits.items():
        if name not in LIMITS:
            yield Violation(f"{pointer}/{name}", "limit.unknown", f"The guard's limits are {', '.join(LIMITS)}.")
        elif LIMITS[name] is float and not (_is_number(value, float) and 0 <= value <= 1):
            yield Violation(f"{pointer}/{name}", "limit.range", "A share from 0 to 1.")
        elif LIMITS[name] is int and not (_is_number(value, int) and 0 <= value <= MAX_ROWS):
            yield Violation(f"{pointer}/{name}", "limit.range", f"A whole number from 0 to {MAX_ROWS:,}.")


def _rollover(rollover: Any) -> Iterator[Violation]:
    if rollover is None:
        return
    days = [_day(rollover.get(name)) for name in ("begins_on", "ends_on")] if isinstance(rollover, Mapping) else []
    if len(days) != 2 or set(rollover) - {"begins_on", "ends_on", "limits"}:
        yield Violation("/rollover", "rollover.malformed", "A rollover has begins_on, ends_on and, if need be, limits.")
        return
    if days[0] is None or days[1] is None or days[1] < days[0] or (days[1] - days[0]).days > 120:
        detail = "begins_on and ends_on are dates such as 2026-07-15, at most 120 days apart."
        yield Violation("/rollover", "rollover.dates", detail)
    yield from _limits(rollover.get("limits") or {}, "/rollover/limits")


def _schedule(new: SourceSettings) -> Iterator[Violation]:
    for name in ("cron", "full_cron"):
        value = getattr(new, name)
        if value is not None and not is_cron(value):
            detail = "A cron expression of five fields, such as 0 2 * * 1-5, that matches at least one time."
            yield Violation(f"/{name}", "cron.malformed", detail)
    if len(new.freeze) > MAX_FREEZES:
        yield Violation("/freeze", "freeze.too_many", f"At most {MAX_FREEZES} freezes.")
        return
    has_violations = False
    for place, pair in enumerate(new.freeze):
        days = [_day(value) for value in pair] if isinstance(pair, list | tuple) and len(pair) == 2 else []
        if len(days) != 2 or days[0] is None or days[1] is None or days[1] < days[0]:
            has_violations = True
            detail = "A first and a last day, such as 2026-12-21 and 2027-01-01, both included."
            yield Violation(f"/freeze/{place}", "freeze.malformed", detail)
    if (
        new.cron is not None
        and is_cron(new.cron)
        and not has_violations
        and not has_run(new.cron, freeze_of(new.freeze), now())
    ):
        yield Violation("/freeze", "freeze.no_run", "The freeze dates leave the schedule no run.")


def _moves_host(before: SourceSettings, after: SourceSettings) -> bool:
    """Returns whether the settings `after` have an address on a host that does not occur in the settings `before`."""
    hosts = {_origin(getattr(before, name)) for name in _URLS}
    return any(_origin(getattr(after, name)) not in hosts | {None} for name in _URLS)


def _origin(url: str | None) -> tuple[str, str] | None:
    return (urlsplit(url).scheme, urlsplit(url).netloc) if url else None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def _is_number(value: object, kind: Callable[..., Any]) -> bool:
    types = (int, float) if kind is float else (int,)
    return isinstance(value, types) and not isinstance(value, bool) and value == value


_RULES: tuple[Callable[[SourceSettings], Iterable[Violation]], ...] = (
    *(_credentials, _numbers, _words, _schedule),
    lambda new: _limits(new.limits, "/limits"),
    lambda new: _rollover(new.rollover),
    lambda new: mapping_violations(new.mapping),
)
SETTABLE: Final = tuple(item.name for item in fields(SourceSettings) if item.name != "kind")
"""The names of the settings that can be changed after a source was created."""

"""Tests sources: their settings and limits, a secret that only the worker can decrypt, pausing, the schedule."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.address import PUBLIC_ONLY, Allowed
from app.core.clock import now
from app.core.crypto import KeyFault, Keyring, generate_key
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.sis.guard import GuardLimits
from app.sis.models import SisSource
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings, limits_of, validate_settings
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town

SECRET = "s3cret-of-a-test"
REST: dict[str, Any] = {
    "kind": "oneroster-1.1",
    "url": "https://sis.example.org/ims/oneroster/v1p1",
    "client_id": "north",
    "client_secret": SECRET,
}


def _codes(more: Mapping[str, Any], *, local: bool = False, name: str = "main") -> list[tuple[str, str]]:
    try:
        validate_settings(SourceSettings(**{**REST, **more}), PUBLIC_ONLY, name=name, local=local)
    except Invalid as error:
        return [(one.pointer, one.code) for one in error.violations]
    return []


CSV = {"kind": "oneroster-csv", "client_id": None, "client_secret": None}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"kind": "sftp"}, [("/kind", "kind.unknown")]),
        ({"url": "http://sis.example.org/"}, [("/url", "url.scheme")]),
        ({"url": "https://10.0.0.7/v1p1"}, [("/url", "url.address")]),
        ({"token_url": "https://169.254.169.254/token"}, [("/token_url", "url.address")]),
        ({"url": "https://sis.example.org/v1p1?key=s3cret"}, [("/url", "url.query")]),
        ({"auth": "ntlm"}, [("/auth", "auth.unknown")]),
        ({"kind": "oneroster-1.2", "auth": "oauth1"}, [("/auth", "auth.unknown")]),
        ({"client_id": None}, [("/client_id", "client_id.missing")]),
        ({"client_secret": None}, [("/client_secret", "client_secret.missing")]),
        ({"client_secret": "two words"}, [("/client_secret", "client_secret.malformed")]),
        ({"page_size": 0}, [("/page_size", "page_size.range")]),
        ({"concurrency": 21}, [("/concurrency", "concurrency.range")]),
        ({"concurrency": 20, "page_size": 100_000}, []),
        ({"limits": {"removed": 1, "removed_rows": 0}}, []),
        ({"limits": {"removed": 1.01}}, [("/limits/removed", "limit.range")]),
        ({"limits": {"removed": -0.01}}, [("/limits/removed", "limit.range")]),
        ({"limits": {"removed": float("nan")}}, [("/limits/removed", "limit.range")]),
        ({"limits": {"removed": True}}, [("/limits/removed", "limit.range")]),
        ({"limits": {"removed_rows": 2.5}}, [("/limits/removed_rows", "limit.range")]),
        ({"limits": {"deleted": 0.5}}, [("/limits/deleted", "limit.unknown")]),
        ({"rollover": {"begins_on": "2026-07-01", "ends_on": "2026-08-31"}}, []),
        ({"rollover": {"begins_on": "2026-08-31", "ends_on": "2026-07-01"}}, [("/rollover", "rollover.dates")]),
        ({"rollover": {"begins_on": "2026-01-01", "ends_on": "2026-12-31"}}, [("/rollover", "rollover.dates")]),
        ({"rollover": {"from": "2026-07-01"}}, [("/rollover", "rollover.malformed")]),
        ({"cron": "0 2 * * 1-5", "full_cron": "0 3 * * 6"}, []),
        ({"cron": "0 2 * *"}, [("/cron", "cron.malformed")]),
        ({"cron": "0 0 31 2 *"}, [("/cron", "cron.malformed")]),
        ({"freeze": (("2026-12-21", "2027-01-01"),)}, []),
        ({"freeze": (("2027-01-01", "2026-12-21"),)}, [("/freeze/0", "freeze.malformed")]),
        ({"freeze": ("2026-12-21",)}, [("/freeze/0", "freeze.malformed")]),
        ({"freeze": (("2026-12-21", "2027-01-01"),) * 101}, [("/freeze", "freeze.too_many")]),
        *(
            ({"cron": cron, "freeze": ((first, "9999-12-31"),)}, [("/freeze", "freeze.no_run")])
            for cron in ("0 2 1 1 *", "0 2 1 * *", "0 2 * * 1-5", "* * * * *", "0 0 29 2 *")
            for first in ("0001-01-01", "2026-01-01")
        ),
        ({"left_out": ("demographics", "results", "courses")}, []),
        ({"left_out": ("demographics", "demographic")}, [("/left_out/1", "left_out.unknown")]),
        ({"left_out": ("users",)}, [("/left_out/0", "left_out.unknown")]),
        ({**CSV, "url": "https://sis.example.org/roster.zip"}, []),
        ({**CSV, "url": "/srv/drop"}, [("/url", "url.local")]),
        ({**CSV, "url": "file:///srv/drop"}, [("/url", "url.local")]),
        ({**CSV, "url": "https://sis.example.org/a.zip", "auth": "oauth1"}, [("/auth", "auth.unknown")]),
    ],
)
def test_a_setting_is_held_to_its_bounds(more: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each setting beyond its limit is refused with its pointer and code, and the limit itself is accepted."""
    assert _codes(more) == expected


def test_a_local_path_is_an_operators_to_name() -> None:
    """A local path can be set by an operator only. It must be absolute and without `..`, and a REST source cannot have
    one.
    """
    assert _codes({**CSV, "url": "/srv/drop"}, local=True) == []
    assert _codes({**CSV, "url": "/srv/../etc"}, local=True) == [("/url", "url.malformed")]
    assert _codes({"url": "/srv/drop"}, local=True) == [("/url", "url.malformed")]
    assert _codes({}, name="a:b") == [("/name", "name.malformed")]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """All violations in the settings of a source are reported at once."""
    assert len(_codes({"url": "http://sis.example.org", "cron": "never", "page_size": -1})) == 3


def test_the_rollover_changes_the_limits_on_its_days_only() -> None:
    """The limits of the rollover (the change of school year) apply only from its first to its last day.

    Limits that the rollover does not change stay the same.
    """
    rollover = {"begins_on": "2026-07-01", "ends_on": "2026-08-31"}
    set_ = {"refused": 0.2}
    for day, removed in (("2026-06-30", 0.1), ("2026-07-01", 1.0), ("2026-08-31", 1.0), ("2026-09-01", 0.1)):
        limits = limits_of(set_, rollover, date.fromisoformat(day))
        assert (limits.removed, limits.refused) == (removed, 0.2)
    own = limits_of({}, {**rollover, "limits": {"removed_rows": 900}}, date(2026, 7, 9))
    assert own == GuardLimits(removed_rows=900)


async def _make(town: Town, name: str = "main", **more: Any) -> sources.ConfiguredSource:
    async with town.unit() as work:
        return await sources.register_source(work, name, SourceSettings(**{**REST, **more}))


async def test_a_secret_is_sealed_and_opened_by_the_worker_only(north: Town, south: Town) -> None:
    """A source's secret is stored encrypted, bound to its row, and only the worker can read it."""
    made = await _make(north)
    ((sealed,),) = await ask(north, "SELECT client_secret_sealed FROM sis_source WHERE district_id = :district")
    assert SECRET not in sealed
    async with north.house() as work:
        assert await sources.open_secret(work, made.source.id) == SECRET
    with pytest.raises(KeyFault):
        north.settings.keyring.open(sealed, sources.SEALED_AS, south.district_id, made.source.id)

    @needs(Can.READ_SYNC)
    async def peek(work: Work) -> Any:
        own_source = SisSource.district_id == work.district_id
        return await work.db.scalar(select(SisSource.client_secret_sealed).where(own_source))

    with pytest.raises(DBAPIError, match="permission denied"):
        async with north.unit() as work:
            await peek(work)
    assert SECRET not in str(sources.render_source(made)) + repr(SourceSettings(**REST))


SIGNED = "https://files.example.org/n/roster.zip?sv=1&sig=Zanary%2Bsignature&Zanaryflag"
SHOWN = "https://files.example.org/n/roster.zip?sv=...&sig=...&..."


async def test_a_secret_in_an_address_is_shown_to_nobody(north: Town) -> None:
    """The signature in an address is encrypted, and the APIs show the address without it."""
    changed = {"cron": "0 2 * * *"}
    async with north.unit() as work:
        made = await sources.register_source(work, "zip", SourceSettings(kind="oneroster-csv", url=SIGNED))
    assert sources.render_source(made)["url"] == SHOWN
    async with north.unit() as work:
        # Whoever sends back what is shown changes nothing.
        kept = await sources.change_source(work, made.source.id, {**changed, "url": SHOWN})
        assert sources.render_source(kept)["url"] == SHOWN
    async with north.house() as work:
        assert await sources.open_url(work, made.source.id) == SIGNED
    ((row,),) = await ask(north, "SELECT s::text FROM sis_source AS s WHERE district_id = :district")
    assert "Zanary" not in row
    async with north.unit() as work:
        with pytest.raises(Invalid) as refused:
            await sources.change_source(work, made.source.id, {"url": SHOWN.replace("/n/", "/m/")})
    assert [one.code for one in refused.value.violations] == ["url.hidden"]
    async with north.unit() as work:
        await sources.change_source(work, made.source.id, {"url": "https://files.example.org/open.zip"})
    async with north.house() as work:
        assert await sources.open_url(work, made.source.id) == "https://files.example.org/open.zip"
    assert await ask(north, "SELECT url_sealed FROM sis_source WHERE district_id = :district") == [(None,)]

    @needs(Can.READ_SYNC)
    async def peek(work: Work) -> Any:
        own_source = SisSource.district_id == work.district_id
        return await work.db.scalar(select(SisSource.url_sealed).where(own_source))

    with pytest.raises(DBAPIError, match="permission denied"):
        async with north.unit() as work:
            await peek(work)


async def test_a_run_seals_an_address_that_is_not_sealed_yet(north: Town) -> None:
    """A run encrypts a source's address with the keyring's first key, unless it is already encrypted with this key."""
    async with north.unit() as work:
        made = await sources.register_source(work, "zip", SourceSettings(kind="oneroster-csv", url=SIGNED))
    await ask(north, "UPDATE sis_source SET url = :url, url_sealed = NULL WHERE district_id = :district", url=SIGNED)
    async with north.unit() as work:
        configured = await sources.load_source(work, made.source.id)
        assert sources.render_source(configured)["url"] == SHOWN
    fresh = Keyring.parse(generate_key("k9"))
    both = Keyring({**fresh.keys, **north.settings.keyring.keys})
    worker = system_principal(north.district_id, "sync")
    for keyring in (north.settings.keyring, both, fresh):
        async with unit(north.worker_engine, worker, keyring, "test") as work:
            assert await sources.open_url(work, made.source.id, renew=True) == SIGNED
        assert await ask(north, "SELECT url FROM sis_source WHERE district_id = :district") == [(SHOWN,)]


async def test_a_run_seals_the_secret_under_the_newest_key(north: Town) -> None:
    """A run encrypts the secret with the newest key, so that the old key can be removed."""
    made = await _make(north)
    fresh = Keyring.parse(generate_key("k9"))
    both = Keyring({**fresh.keys, **north.settings.keyring.keys})
    worker = system_principal(north.district_id, "sync")
    sealed = "SELECT client_secret_sealed FROM sis_source WHERE district_id = :district"
    before = after = await ask(north, sealed)
    for renew in (False, True, True):
        async with unit(north.worker_engine, worker, both, "test") as work:
            assert await sources.open_secret(work, made.source.id, renew=renew) == SECRET
        after = await ask(north, sealed)
        assert (after == before) is not renew
    async with unit(north.worker_engine, worker, fresh, "test") as work:
        assert await sources.open_secret(work, made.source.id) == SECRET
    async with unit(north.worker_engine, worker, both, "test") as work:
        await sources.open_secret(work, made.source.id, renew=True)
    assert await ask(north, sealed) == after, "what is of the newest key stays"


async def test_a_secret_follows_no_address_to_another_host(north: Town) -> None:
    """If the address changes to another host, the secret must be sent again."""
    made = await _make(north)
    moved = {"token_url": "https://other.example.net/token"}
    async with north.unit() as work:
        with pytest.raises(Invalid) as refused:
            await sources.change_source(work, made.source.id, moved)
    assert [one.code for one in refused.value.violations] == ["secret.again"]
    async with north.unit() as work:
        await sources.change_source(work, made.source.id, {"url": "https://sis.example.org/other"})
        changed = await sources.change_source(work, made.source.id, {**moved, "client_secret": "another"})
    assert changed.settings.version == 3
    async with north.house() as work:
        assert await sources.open_secret(work, made.source.id) == "another"


async def test_a_change_leaves_what_it_does_not_name(north: Town) -> None:
    """A change keeps the settings that it does not contain, and a refused change keeps all."""
    made = await _make(north, limits={"removed": 0.2}, left_out=("demographics",), scopes=("roster.readonly",))
    async with north.unit() as work:
        await sources.change_source(work, made.source.id, {"page_size": 500})
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await sources.change_source(work, made.source.id, {"page_size": 0, "concurrency": 2})
    async with north.unit() as work:
        kept = sources.settings_of(await sources.load_source_by_name(work, "main"))
    assert (kept.page_size, kept.concurrency, kept.limits) == (500, 5, {"removed": 0.2})
    assert (kept.left_out, kept.scopes, kept.auth) == (("demographics",), ("roster.readonly",), "oauth2-basic")


async def test_a_source_that_was_only_named_gets_its_settings(north: Town, tmp_path: Any) -> None:
    """A source that has rows but no settings can be registered, and keeps its rows. Registering it again is refused."""
    await sync(north, Export(), tmp_path)
    before = await row_id(north, "person", "s1")
    made = await _make(north, "csv", **CSV, url="https://sis.example.org/roster.zip")
    repeated = await sync(north, Export(), tmp_path)
    assert repeated.total("changes") == 0
    assert await row_id(north, "person", "s1") == before
    with pytest.raises(Conflict):
        await _make(north, "csv")
    assert (await _make(north, "sis")).source.kind == "oneroster-1.1", "named for CSV before, and now read over REST"
    async with north.unit() as work:
        with pytest.raises(NotFound):
            await sources.load_source_by_name(work, "nobody")
        assert (await sources.load_source(work, made.source.id)).source.name == "csv"


async def test_only_who_may_touches_a_source(north: Town) -> None:
    """The scope `sync:read` allows reading the settings of a source, but not changing them."""
    made = await _make(north)
    reader = north.client(frozenset({"sync:read"}))
    async with north.unit(reader) as work:
        assert (await sources.load_source(work, made.source.id)).source.id == made.source.id
        with pytest.raises(Forbidden):
            await sources.change_source(work, made.source.id, {"page_size": 5})
        with pytest.raises(Forbidden):
            await sources.pause_source(work, made.source.id)
        with pytest.raises(Forbidden):
            await sources.open_secret(work, made.source.id)


async def test_pausing_lifts_the_schedule_and_resuming_lays_it(north: Town) -> None:
    """Pausing a source removes its next due time and its overdue time, and resuming sets them again.

    A source without a schedule is never due. One with a schedule is overdue 25 hours from now at the earliest.
    """
    made = await _make(north, cron="0 2 * * *", jitter_minutes=0)
    assert made.settings.due is not None
    assert made.settings.overdue_at is not None
    assert now() < made.settings.due <= now() + timedelta(hours=25)
    assert made.settings.overdue_at >= now() + timedelta(hours=25)
    async with north.unit() as work:
        paused = await sources.pause_source(work, made.source.id)
        assert (paused.settings.due, paused.settings.overdue_at) == (None, None)
    async with north.unit() as work:
        resumed = await sources.resume_source(work, made.source.id)
        assert resumed.settings.due == made.settings.due
    async with north.unit() as work:
        silent = await sources.change_source(work, made.source.id, {"cron": None})
        assert silent.settings.due is None


def test_an_allowed_network_is_the_operators_to_open() -> None:
    """A SIS in a private network is reached once the operator has allowed this network."""
    inside = SourceSettings(**{**REST, "url": "https://10.1.2.3/v1p1"})
    with pytest.raises(Invalid):
        validate_settings(inside, PUBLIC_ONLY, name="main")
    assert (
        validate_settings(inside, Allowed.parse("10.1.0.0/16", "AIMLINE_SIS_ALLOW_NETWORKS"), name="main").url
        == "https://10.1.2.3/v1p1"
    )

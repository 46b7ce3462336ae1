"""Manages the sources of a district and their settings: registration, changes, encrypted credentials, the next run.

It does not connect to a source, and never returns a secret through an API. This file exceeds 250 lines so that all
commands on a source are in one place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.address import PUBLIC_ONLY, Allowed
from app.core.clock import now
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.core.violations import partial_input, without_unread
from app.roster.lookup import zone_of
from app.roster.models import Source
from app.sis.models import SisSource
from app.sis.sources import schedule
from app.sis.sources.address import hide_secrets
from app.sis.sources.settings import SETTABLE, SourceSettings, freeze_of, validate_settings

SEALED_AS: Final = "sis_source.client"
URL_SEALED_AS: Final = "sis_source.url"


READ_ANEW: Final = ("kind", "url", "gradebook_url", "schools", "excluded_users", "left_out")
"""The settings after whose change the next run is a full one."""
_LISTS: Final = ("scopes", "left_out", "schools", "excluded_users")
_PLAIN: Final = tuple(name for name in SETTABLE if name not in ("client_secret", "freeze", *_LISTS))


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A source with its settings.

    A source that was only named on the command line has no settings.
    """

    source: Source
    settings: SisSource


@needs(Can.MANAGE_SOURCES)
async def register_source(
    work: Work, name: str, new: SourceSettings, allowed: Allowed = PUBLIC_ONLY, *, local: bool = False
) -> ConfiguredSource:
    """Creates a source. If the source exists without settings, adds the settings and keeps its rows.

    With `local`, which only an operator may set, `url` may be a file or folder of this machine. Raises `Invalid` with
    every violation, and `Conflict` if a source of this name has settings already.
    """
    settings = validate_settings(new, allowed, name=name, local=local)
    source = await work.db.scalar(select(Source).where(Source.district_id == work.district_id, Source.name == name))
    if source is None:
        source = Source(district_id=work.district_id, id=new_id(), name=name, kind=new.kind, created_at=now())
        work.db.add(source)
        await work.db.flush()
    elif await _settings_of(work, source.id) is not None:
        raise Conflict("There is a source of this name already.", code="source.taken")
    elif (source.kind == "scores-csv") != (new.kind == "scores-csv"):
        raise Conflict(f"The source {name} has rows of the kind {source.kind} already.", code="source.kind")
    source.kind = new.kind
    row = SisSource(district_id=work.district_id, id=source.id, created_at=now(), version=1)
    await _apply_settings(work, row, settings)
    _write_url(work, row, settings.url)
    row.client_secret_sealed = _seal_secret(work, source.id, settings.client_secret)
    work.db.add(row)
    await work.db.flush()
    return ConfiguredSource(source, row)


@needs(Can.MANAGE_SOURCES)
async def change_source(
    work: Work, source_id: UUID, changes: Mapping[str, Any], allowed: Allowed = PUBLIC_ONLY, *, local: bool = False
) -> ConfiguredSource:
    """Changes the settings in `changes` and keeps the others. Raises `NotFound`, or `Invalid` with every violation.

    If the host changes, the secret must be given again. Otherwise it would be sent to a host for which it was not
    meant.
    """
    configured = await _load(work, source_id, lock=True)
    current = settings_of(configured)
    values = {item.name: getattr(current, item.name) for item in fields(SourceSettings)} | dict(changes)
    new = partial_input(SourceSettings, without_unread(values))
    settings = validate_settings(new, allowed, name=configured.source.name, local=local, before=current)
    await _apply_settings(work, configured.settings, settings)
    if any(getattr(settings, name) != getattr(current, name) for name in READ_ANEW):
        # A delta would lack the unchanged rows that the settings admit only since this change.
        configured.settings.pulled_until = configured.settings.full_at = None
    if settings.url != current.url:
        _write_url(work, configured.settings, settings.url)
    if "client_secret" in changes:
        configured.settings.client_secret_sealed = _seal_secret(work, source_id, settings.client_secret)
    configured.settings.version += 1
    await work.db.flush()
    return configured


@needs(Can.MANAGE_SOURCES)
async def pause_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """Pauses the schedule of a source, and keeps its rows and its history. Raises `NotFound`."""
    configured = await _load(work, source_id, lock=True)
    if configured.settings.paused_at is None:
        configured.settings.paused_at = now()
        configured.settings.due = configured.settings.overdue_at = None
        configured.settings.version += 1
        await work.db.flush()
    return configured


@needs(Can.MANAGE_SOURCES)
async def resume_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """Resumes the schedule of a paused source; raises `NotFound`."""
    configured = await _load(work, source_id, lock=True)
    if configured.settings.paused_at is not None:
        configured.settings.paused_at = None
        configured.settings.version += 1
        await _write_schedule(work, configured.settings)
        await work.db.flush()
    return configured


@needs(Can.RUN_SYNC)
async def request_inspection(work: Work, source_id: UUID) -> ConfiguredSource:
    """Asks the worker to inspect a source and to save the findings, without a sync. Raises `NotFound`."""
    configured = await _load(work, source_id, lock=True)
    configured.settings.look_asked_at = now()
    await work.db.flush()
    return configured


@needs(Can.READ_SYNC)
async def load_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """Returns a source with its settings. Raises `NotFound`, also if the source has no settings."""
    return await _load(work, source_id)


@needs(Can.READ_SYNC)
async def load_source_by_name(work: Work, name: str) -> ConfiguredSource:
    """Returns the source with this name and its settings. Raises `NotFound`, also if the source has no settings."""
    query = select(Source.id).where(Source.district_id == work.district_id, Source.name == name)
    source_id = await work.db.scalar(query)
    if source_id is None:
        raise NotFound("source")
    return await load_source(work, source_id)


def settings_of(configured: ConfiguredSource) -> SourceSettings:
    """Returns the settings of a source without its secrets. A secret part of its address is hidden, as in the APIs."""
    row = configured.settings
    return SourceSettings(
        kind=configured.source.kind,
        scopes=tuple(row.scopes),
        left_out=tuple(row.left_out),
        schools=tuple(row.schools),
        excluded_users=tuple(row.excluded_users),
        freeze=tuple(tuple(pair) for pair in row.frozen),
        **{name: getattr(row, name) for name in _PLAIN},
    )


@needs(Can.SYNC_ROSTER)
async def open_secret(work: Work, source_id: UUID, *, renew: bool = False) -> str | None:
    """Returns the decrypted client secret, or None if there is none.

    Only the worker may call this, to connect to the source. The first key of the keyring encrypts; older keys only
    decrypt. With `renew`, a secret that is encrypted with an older key is encrypted again with the first key. The older
    key can then be retired.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    sealed = await work.db.scalar(select(SisSource.client_secret_sealed).where(is_source))
    if not sealed:
        return None
    secret = work.keyring.open(sealed, SEALED_AS, work.district_id, source_id).decode()
    if renew and not work.keyring.is_current(sealed):
        # A secret that was changed meanwhile is not overwritten.
        is_unchanged = is_source & (SisSource.client_secret_sealed == sealed)
        await work.db.execute(
            update(SisSource).where(is_unchanged).values(client_secret_sealed=_seal_secret(work, source_id, secret))
        )
    return secret


@needs(Can.SYNC_ROSTER)
async def open_url(work: Work, source_id: UUID, *, renew: bool = False) -> str:
    """Returns the address of a source with its secret parts. Only the worker may call this, to connect to the source.

    The first key of the keyring encrypts; older keys only decrypt. With `renew`, the address is encrypted with the
    first key if it is encrypted with an older key, or if it contains a secret and is not encrypted yet.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    shown, sealed = (await work.db.execute(select(SisSource.url, SisSource.url_sealed).where(is_source))).one()
    whole = work.keyring.open(sealed, URL_SEALED_AS, work.district_id, source_id).decode() if sealed else shown
    is_current = work.keyring.is_current(sealed) if sealed else hide_secrets(shown) == shown
    if renew and not is_current:
        # An address that was changed meanwhile is not overwritten.
        is_unchanged = is_source & SisSource.url_sealed.is_not_distinct_from(sealed) & (SisSource.url == shown)
        values = {"url": hide_secrets(whole), "url_sealed": _seal_url(work, source_id, whole)}
        await work.db.execute(update(SisSource).where(is_unchanged).values(values))
    return str(whole)


@needs(Can.READ_SYNC)
async def write_schedule(work: Work, row: SisSource, last: datetime | None = None, *, keep_due: bool = False) -> None:
    """Sets when the source is due next and when it becomes overdue. `last` is the time of its last run.

    With `keep_due`, a due time that is already set is kept, even if it has passed and the run waits for a worker.
    """
    await _write_schedule(work, row, last, keep_due=keep_due)


async def _write_schedule(work: Work, row: SisSource, last: datetime | None = None, *, keep_due: bool = False) -> None:
    due, row.due, row.overdue_at = row.due, None, None
    if row.cron is None or row.paused_at is not None:
        return
    zone, freeze = await zone_of(work), freeze_of(row.frozen)
    jitter = schedule.jitter_of(row.id, row.jitter_minutes)
    try:
        row.due = (keep_due and due) or schedule.next_run(row.cron, zone, now(), jitter, freeze)
        row.overdue_at = schedule.overdue_at(row.cron, zone, last or now(), jitter, freeze)
    except ValueError:
        return  # The freeze is endless, so there is no next run.


async def _load(work: Work, source_id: UUID, *, lock: bool = False) -> ConfiguredSource:
    """Returns a source with its settings. With `lock`, locks the source's row for a command."""
    source = await work.db.scalar(select(Source).where(Source.district_id == work.district_id, Source.id == source_id))
    settings = await _settings_of(work, source_id, lock=lock)
    if source is None or settings is None:
        raise NotFound("source")
    return ConfiguredSource(source, settings)


async def _settings_of(work: Work, source_id: UUID, *, lock: bool = False) -> SisSource | None:
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    query = select(SisSource).where(is_source)
    settings: SisSource | None = await work.db.scalar(query.with_for_update(key_share=True) if lock else query)
    return settings


async def _apply_settings(work: Work, row: SisSource, settings: SourceSettings) -> None:
    """Writes validated settings to the row of a source, and sets the time of its next run."""
    for name in _PLAIN:
        value = getattr(settings, name)
        setattr(row, name, dict(value) if isinstance(value, Mapping) else value)
    for name in _LISTS:
        setattr(row, name, list(getattr(settings, name)))
    row.frozen = [[str(first), str(last)] for first, last in freeze_of(settings.freeze)]
    await _write_schedule(work, row)


def _write_url(work: Work, row: SisSource, url: str) -> None:
    row.url = hide_secrets(url)
    row.url_sealed = _seal_url(work, row.id, url) if row.url != url else None


def _seal_url(work: Work, source_id: UUID, url: str) -> str:
    return work.keyring.seal(url.encode(), URL_SEALED_AS, work.district_id, source_id)


def _seal_secret(work: Work, source_id: UUID, secret: str | None) -> str | None:
    return work.keyring.seal(secret.encode(), SEALED_AS, work.district_id, source_id) if secret else None


def render_source(configured: ConfiguredSource) -> dict[str, Any]:
    """Returns a source as plain values for the APIs.

    They contain no secret, and do not reveal whether the source has one.
    """
    row, settings = configured.settings, settings_of(configured)
    times = {name: getattr(row, name) for name in ("due", "pulled_until", "full_at", "paused_at", "created_at")}
    return {
        "id": ids.format_id("source", configured.source.id),
        "name": configured.source.name,
        "kind": configured.source.kind,
        **{name: getattr(settings, name) for name in SETTABLE if name != "client_secret"},
        "url": hide_secrets(settings.url),
        **{name: value.isoformat(timespec="seconds") if value else None for name, value in times.items()},
        "findings": row.findings,
        "version": row.version,
    }

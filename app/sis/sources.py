"""Owns the settings of sources: what can be set and within which bounds, credentials sealed, schedules laid.

Never speaks to a source, and never gives a secret back.
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
from app.roster.lookup import zone_of
from app.roster.models import Source
from app.sis.models import SisSource
from app.sis.scheduler import schedule
from app.sis.settings import SETTABLE, SourceSettings, freeze_of, validate_settings

SEALED_AS: Final = "sis_source.client"


_PLAIN: Final = tuple(name for name in SETTABLE if name not in ("client_secret", "scopes", "left_out", "freeze"))


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A source and its settings; none where it was only ever named on the command line."""

    source: Source
    settings: SisSource


@needs(Can.MANAGE_SOURCES)
async def register_source(
    work: Work, name: str, new: SourceSettings, allowed: Allowed = PUBLIC_ONLY, *, local: bool = False
) -> ConfiguredSource:
    """Makes a source; or gives one that was only named so far its settings, its rows kept.

    `local` lets `url` name a file or folder of this machine: an operator's right. Raises `Invalid` with every
    violation, `Conflict` where the name has settings already.
    """
    fit = validate_settings(new, allowed, name=name, local=local)
    source = await work.db.scalar(select(Source).where(Source.district_id == work.district_id, Source.name == name))
    if source is None:
        source = Source(district_id=work.district_id, id=new_id(), name=name, kind=new.kind, created_at=now())
        work.db.add(source)
        await work.db.flush()
    elif await _settings_of(work, source.id) is not None:
        raise Conflict("There is a source of this name already.", code="source.taken")
    source.kind = new.kind
    row = SisSource(district_id=work.district_id, id=source.id, created_at=now(), version=1)
    await _apply_settings(work, row, fit)
    row.client_secret_sealed = _seal_secret(work, source.id, fit.client_secret)
    work.db.add(row)
    await work.db.flush()
    return ConfiguredSource(source, row)


@needs(Can.MANAGE_SOURCES)
async def change_source(
    work: Work, source_id: UUID, changes: Mapping[str, Any], allowed: Allowed = PUBLIC_ONLY, *, local: bool = False
) -> ConfiguredSource:
    """Changes what is named in `changes`, and leaves the rest. Raises `NotFound`, or `Invalid` with every violation.

    Who moves a source to another host gives its secret anew: it is never sent where it was not meant for.
    """
    found = await load_source(work, source_id)
    kept = settings_of(found)
    new = SourceSettings(**{**{one.name: getattr(kept, one.name) for one in fields(SourceSettings)}, **changes})
    fit = validate_settings(new, allowed, name=found.source.name, local=local, before=kept)
    await _apply_settings(work, found.settings, fit)
    if "client_secret" in changes:
        found.settings.client_secret_sealed = _seal_secret(work, source_id, fit.client_secret)
    found.settings.version += 1
    await work.db.flush()
    return found


@needs(Can.MANAGE_SOURCES)
async def pause_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """No run of it begins by itself any more; its rows and its history stay. Raises `NotFound`."""
    found = await load_source(work, source_id)
    if found.settings.paused_at is None:
        found.settings.paused_at, found.settings.due, found.settings.overdue_at = now(), None, None
        found.settings.version += 1
        await work.db.flush()
    return found


@needs(Can.MANAGE_SOURCES)
async def resume_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """Its schedule holds again. Raises `NotFound`."""
    found = await load_source(work, source_id)
    if found.settings.paused_at is not None:
        found.settings.paused_at = None
        found.settings.version += 1
        await write_schedule(work, found.settings)
        await work.db.flush()
    return found


@needs(Can.RUN_SYNC)
async def request_inspection(work: Work, source_id: UUID) -> ConfiguredSource:
    """Asks the worker to look at the source and to note what it finds; it writes nothing else. Raises `NotFound`."""
    found = await load_source(work, source_id)
    found.settings.look_asked_at = now()
    await work.db.flush()
    return found


@needs(Can.READ_SYNC)
async def load_source(work: Work, source_id: UUID) -> ConfiguredSource:
    """One source with its settings; raises `NotFound`, also where it has none."""
    source = await work.db.scalar(select(Source).where(Source.district_id == work.district_id, Source.id == source_id))
    settings = await _settings_of(work, source_id)
    if source is None or settings is None:
        raise NotFound("source")
    return ConfiguredSource(source, settings)


@needs(Can.READ_SYNC)
async def load_source_by_name(work: Work, name: str) -> ConfiguredSource:
    """One source by the name that people gave it; raises `NotFound`, also where it has no settings."""
    query = select(Source.id).where(Source.district_id == work.district_id, Source.name == name)
    source_id = await work.db.scalar(query)
    if source_id is None:
        raise NotFound("source")
    return await load_source(work, source_id)


def settings_of(found: ConfiguredSource) -> SourceSettings:
    """The settings as they were given; the secret left out."""
    row = found.settings
    return SourceSettings(
        kind=found.source.kind,
        scopes=tuple(row.scopes),
        left_out=tuple(row.left_out),
        freeze=tuple(tuple(pair) for pair in row.frozen),
        **{name: getattr(row, name) for name in _PLAIN},
    )


@needs(Can.SYNC_ROSTER)
async def open_secret(work: Work, source_id: UUID, *, renew: bool = False) -> str | None:
    """The client secret in the clear, for the connection that is about to be made. The worker's alone.

    With `renew`, one that is sealed under an older key is sealed under the first, so that the older can go.
    """
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    sealed = await work.db.scalar(select(SisSource.client_secret_sealed).where(here))
    if not sealed:
        return None
    secret = work.keyring.open(sealed, SEALED_AS, work.district_id, source_id).decode()
    if renew and not work.keyring.is_of_first(sealed):
        # Where the secret was set anew meanwhile, that one stays.
        stands = here & (SisSource.client_secret_sealed == sealed)
        await work.db.execute(
            update(SisSource).where(stands).values(client_secret_sealed=_seal_secret(work, source_id, secret))
        )
    return secret


@needs(Can.READ_SYNC)
async def write_schedule(work: Work, row: SisSource, last: datetime | None = None, *, keep_due: bool = False) -> None:
    """Works out when the source is due, and when silence becomes news; `last` is when a run last came.

    With `keep_due`, a time that is laid already stays, also one that has come and waits for a worker.
    """
    due, row.due, row.overdue_at = row.due, None, None
    if row.cron is None or row.paused_at is not None:
        return
    zone, freeze = await zone_of(work), freeze_of(row.frozen)
    jitter = schedule.jitter_of(row.id, row.jitter_minutes)
    try:
        row.due = (keep_due and due) or schedule.next_run(row.cron, zone, now(), jitter, freeze)
        row.overdue_at = schedule.overdue_at(row.cron, zone, last or now(), jitter, freeze)
    except ValueError:
        return  # the freeze outlasts every look: there is no run to wait for


@needs(Can.READ_SYNC)
async def _settings_of(work: Work, source_id: UUID) -> SisSource | None:
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    found: SisSource | None = await work.db.scalar(select(SisSource).where(here))
    return found


async def _apply_settings(work: Work, row: SisSource, fit: SourceSettings) -> None:
    """Puts settings that hold into the row."""
    for name in _PLAIN:
        value = getattr(fit, name)
        setattr(row, name, dict(value) if isinstance(value, Mapping) else value)
    row.scopes, row.left_out = list(fit.scopes), list(fit.left_out)
    row.frozen = [[str(first), str(last)] for first, last in freeze_of(fit.freeze)]
    await write_schedule(work, row)


def _seal_secret(work: Work, source_id: UUID, secret: str | None) -> str | None:
    return work.keyring.seal(secret.encode(), SEALED_AS, work.district_id, source_id) if secret else None


def render_source(found: ConfiguredSource) -> dict[str, Any]:
    """A source as faces show it, in plain values; of the secret, whether there is one is not said."""
    row, kept = found.settings, settings_of(found)
    at = {name: getattr(row, name) for name in ("due", "pulled_until", "full_at", "paused_at", "created_at")}
    return {
        "id": ids.show("source", found.source.id),
        "name": found.source.name,
        "kind": found.source.kind,
        **{name: getattr(kept, name) for name in SETTABLE if name != "client_secret"},
        **{name: value.isoformat(timespec="seconds") if value else None for name, value in at.items()},
        "findings": row.findings,
        "version": row.version,
    }

"""Owns how a source's settings become a run: asked for, full or delta, by which adapter. Never plans or applies.

Whoever asks over a face lays a row; the worker, or the command line at once, carries it out.
Over 250 lines: what is asked for, and what a run of it needs, is read together.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import house_principal
from app.access.work import Work, needs, unit
from app.core.address import Allowed
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.roster.lookup import zone_of
from app.sis import rekey
from app.sis.approval import require_undoable
from app.sis.engine.report import Report
from app.sis.engine.run import RunRequest, is_syncing
from app.sis.guard import GuardLimits
from app.sis.models import SisRun, SisSource
from app.sis.oneroster_csv.fetch import open_path, open_url
from app.sis.oneroster_rest.connection import Connection
from app.sis.oneroster_rest.explore import explore
from app.sis.oneroster_rest.pull import open_rest
from app.sis.port import AlreadyRunning, NothingNew, OpenedSource, Progress, SourceRefused
from app.sis.queries import run as find_run
from app.sis.scheduler.schedule import is_full_due
from app.sis.service import sync
from app.sis.settings import UPLOADS, SourceSettings, is_local, path_of
from app.sis.sources import ConfiguredSource, load_source, open_secret, settings_of
from app.sis.upload import has_upload, open_missing_upload, open_upload

Mode = Literal["full", "delta"]
PAGE_SIZE = 1000  # rows asked for, where the source's settings name no number
REMEMBERED = 1000  # files that were taken, of which the newest are looked at
READ_STATES = ("applied", "held", "approved", "discarded")
"""States of a run that read its source to the end."""
OPEN_STATES = ("pending", "running")


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run of a source needs: its settings, its secret, what it had, and whether it is a full one.

    `sent` is the run for which a zip was sent, which is then read instead.
    """

    found: ConfiguredSource
    secret: str | None
    mode: Mode | None
    taken: Sequence[dict[str, Any]]
    sent: UUID | None = None


@needs(Can.RUN_SYNC)
async def request_run(
    work: Work, source_id: UUID, mode: Mode | None = None, *, dry: bool = False, pointer: str | None = None
) -> SisRun:
    """Asks for a run of a source; the worker takes it up. Without a mode, the source's own schedule says which.

    Raises `NotFound`, or `Invalid` at `pointer`; `AlreadyRunning` while a run of the source waits or one of the
    district is under way; `Conflict` where a delta has nothing to begin from.
    """
    try:
        found = await load_source(work, source_id)
    except NotFound:
        if pointer is None:
            raise
        raise Invalid([Violation(pointer, "source.unknown", "There is no such source.")]) from None
    _mode_of(found, mode)
    return await _create_run(work, source_id, mode, dry, work.principal.name, None)


@needs(Can.APPROVE_SYNC)
async def request_undo(work: Work, run_id: UUID) -> SisRun:
    """Asks for an applied run to be taken back, as a run of its own. Raises as `answer.require_undoable`."""
    undone = (await find_run(work, run_id)).run
    await require_undoable(work, undone)
    return await _create_run(work, undone.source_id, None, False, work.principal.name, run_id)


@needs(Can.APPROVE_SYNC)
async def request_rekey(work: Work, run_id: UUID, match: str | None, pairs: rekey.Pairs | None) -> SisRun:
    """Asks for a map of sourcedIds for the people of a held run, by a `match` or as `pairs` say; it is planned as a
    run of its own, and held. Raises `NotFound`, as `rekey.validate_map` and `files_to_rekey`, `AlreadyRunning`.
    """
    held = (await find_run(work, run_id)).run
    rekey.validate_map(match, pairs)
    rekey.files_to_rekey(held, match, pairs)
    wanted = {"asked": {"of": str(run_id), "match": match, "pairs": [list(pair) for pair in pairs or ()]}}
    return await _create_run(work, held.source_id, rekey.MODE, False, work.principal.name, None, wanted)


@needs(Can.READ_SYNC)
async def _create_run(
    work: Work,
    source_id: UUID,
    mode: str | None,
    dry: bool,
    asked_by: str,
    undoes: UUID | None,
    plan: dict[str, Any] | None = None,
) -> SisRun:
    of = SisRun.district_id == work.district_id
    # The settings' row is the lock: of two who ask at once the second sees the first's run.
    await work.db.execute(
        select(SisSource.id).where(SisSource.district_id == work.district_id).order_by(SisSource.id).with_for_update()
    )
    busy = (SisRun.state == "running") | ((SisRun.state == "pending") & (SisRun.source_id == source_id))
    waiting = (await work.db.execute(select(SisRun.state, SisRun.due).where(of, busy))).all()
    # One that was begun by hand and killed still says that it runs; its lock is free, and the next run ends it.
    if any(state == "pending" or due is not None for state, due in waiting) or (waiting and await is_syncing(work)):
        raise AlreadyRunning("A sync of this district waits or is running. Ask again when it has ended.")
    run = SisRun(
        district_id=work.district_id,
        id=new_id(),
        source_id=source_id,
        state="pending",
        dry=dry,
        began_at=now(),
        due=now(),
        counts={},
        warnings=[],
        sentence="The sync was asked for and waits for a worker.",
        mode=mode,
        asked_by=asked_by,
        undoes=undoes,
        plan=plan,
    )
    work.db.add(run)
    await work.db.flush()
    return run


async def run_source(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    source_id: UUID,
    progress: Progress,
    allowed: Allowed,
    *,
    mode: Mode | None = None,
    dry: bool = False,
    asked: RunRequest = RunRequest(),
    limits: GuardLimits | None = None,
) -> Report:
    """Syncs a district from a source by its settings, at once; see `service.sync` for what is raised."""
    async with unit(engine, house_principal(district_id, "sync"), keyring, "sync settings") as work:
        pull = await _load_inputs(work, source_id, mode, asked.run_id, renew=not dry)

    def opener() -> AbstractAsyncContextManager[OpenedSource]:
        if pull.sent is not None:
            return open_upload(engine, keyring, district_id, pull.sent)
        return cast(
            "AbstractAsyncContextManager[OpenedSource]",
            _open_adapter(pull, allowed, progress, again=dry or mode == "full"),
        )

    is_csv = pull.found.source.kind == "oneroster-csv"
    asked = RunRequest(asked.run_id, asked.attempt, None if is_csv else pull.mode)
    return await sync(engine, keyring, district_id, opener, pull.found.source.name, dry, progress, limits, asked)


@needs(Can.SYNC_ROSTER)
async def _load_inputs(
    work: Work, source_id: UUID, mode: Mode | None, run_id: UUID | None = None, *, renew: bool = False
) -> RunInputs:
    found = await load_source(work, source_id)
    zone, row = await zone_of(work), found.settings
    chosen = _mode_of(found, mode)
    if chosen is None:
        chosen = "full" if is_full_due(row.full_cron, zone, row.full_at, now()) else "delta"
    taken = await work.db.scalars(
        select(SisRun.taken)
        .where(
            SisRun.district_id == work.district_id,
            SisRun.source_id == source_id,
            SisRun.taken.is_not(None),
            SisRun.dry.is_(False),
            SisRun.state.in_(READ_STATES),
        )
        .order_by(SisRun.id.desc())
        .limit(REMEMBERED)
    )
    sent = run_id if run_id is not None and await has_upload(work, run_id) else None
    return RunInputs(
        found, await open_secret(work, source_id, renew=renew), chosen, [one for one in taken if one], sent
    )


def _mode_of(found: ConfiguredSource, mode: Mode | None) -> Mode | None:
    """The mode that is asked for, where the source can give it."""
    if mode == "delta" and found.source.kind == "oneroster-csv":
        raise Conflict("The manifest of a CSV zip says whether it is a delta: ask for none.", code="run.mode")
    if mode == "delta" and (found.settings.full_at is None or found.settings.pulled_until is None):
        raise Conflict("A delta begins from a full run, and none was applied yet: run it with --full.", code="run.mode")
    return mode


def _open_adapter(
    pull: RunInputs, allowed: Allowed, progress: Progress, *, again: bool
) -> AbstractAsyncContextManager[Any]:
    kept, row = settings_of(pull.found), pull.found.settings
    if kept.kind == "oneroster-csv":
        if kept.url == UPLOADS:
            return open_missing_upload()
        if is_local(kept.url):
            return open_path(Path(path_of(kept.url)), pull.taken, again=again)
        return open_url(kept.url, allowed, progress)
    since = row.pulled_until if pull.mode == "delta" else None
    if since is not None:
        since -= timedelta(hours=kept.overlap_hours)
    return open_rest(connection_of(kept, pull.secret, allowed), since=since, progress=progress)


def connection_of(kept: SourceSettings, secret: str | None, allowed: Allowed) -> Connection:
    """The settings as the REST adapter takes them."""
    signs = kept.auth or "oauth2-basic"
    return Connection(
        version="1.2" if kept.kind == "oneroster-1.2" else "1.1",
        url=kept.url,
        gradebook_url=kept.gradebook_url,
        token_url=kept.token_url,
        auth=cast(Any, signs.removesuffix("-sha1")),
        client_id=kept.client_id or "",
        client_secret=secret or "",
        scopes=kept.scopes,
        signature="HMAC-SHA1" if signs.endswith("-sha1") else "HMAC-SHA256",
        page_size=kept.page_size or PAGE_SIZE,
        concurrency=kept.concurrency,
        leave_out=frozenset(kept.left_out),
        pull_minutes=kept.pull_minutes,
        pull_gb=kept.pull_gb,
        allow_networks=allowed.networks,
        sandbox=allowed.sandbox,
    )


async def inspect_source(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, source_id: UUID, allowed: Allowed
) -> dict[str, Any]:
    """Asks a source what it is like, and gives what was found; nothing is written. Raises `NotFound`."""
    async with unit(engine, house_principal(district_id, "sync"), keyring, "sync settings") as work:
        pull = await _load_inputs(work, source_id, None)
    kept = settings_of(pull.found)
    if kept.kind != "oneroster-csv":
        return asdict(await explore(connection_of(kept, pull.secret, allowed)))
    ready, sentences, facts = False, [], {}
    try:
        async with _open_adapter(pull, allowed, lambda _doing, _done, _of: None, again=True) as source:
            files = {one.file: "bulk" if one.complete else "delta" for one in source.deliveries.values()}
            ready, facts = True, {"files": files, "not_taken": list(source.not_taken), "taken": source.taken}
            sentences += [*source.warnings, f"{len(files)} files can be taken: {', '.join(sorted(files))}."]
    except (SourceRefused, NothingNew) as error:
        sentences.append(error.detail)
    sentences.append(f"A sync can{'' if ready else 'not'} read this source{'' if ready else ' as it is set'}.")
    return {"ready": ready, "sentences": sentences, "facts": facts}


@needs(Can.SYNC_ROSTER)
async def save_findings(work: Work, source_id: UUID, findings: dict[str, Any]) -> None:
    """Keeps what a look found, for the faces to show."""
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    await work.db.execute(update(SisSource).where(here).values(findings=findings, found_at=now(), look_asked_at=None))

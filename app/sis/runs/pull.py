"""Requests and starts the runs of a source of any kind. A run is full, or reads only changes (a delta).

Other modules plan and apply the changes. A request to an API creates a row, and the worker executes the run. The
command line executes its runs at once.

This file exceeds 250 lines so that the requests and the inputs of a run are in one place.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.address import Allowed
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.plural import pluralize
from app.roster.lookup import today_of, zone_of
from app.sis.engine.lease import is_syncing
from app.sis.engine.report import Report
from app.sis.engine.run import RunRequest
from app.sis.guard import GuardLimits
from app.sis.models import SisRun, SisSource
from app.sis.oneroster_csv.fetch import REMEMBERED, open_path, open_url
from app.sis.oneroster_rest.connection import Connection
from app.sis.oneroster_rest.explore import CAN_READ, CANNOT_READ, explore
from app.sis.oneroster_rest.pull import open_rest
from app.sis.port import AlreadyRunning, NothingNew, OpenedSource, Progress, SourceRefused
from app.sis.rules import RunState
from app.sis.runs import rekey
from app.sis.runs.queries import run as find_run
from app.sis.runs.undo import require_undoable
from app.sis.runs.upload import form_of, has_upload, open_missing_upload, open_upload
from app.sis.service import rehearse, sync
from app.sis.sources.address import is_local, path_of
from app.sis.sources.schedule import is_full_due
from app.sis.sources.service import ConfiguredSource, load_source, open_secret, settings_of
from app.sis.sources.service import open_url as open_address
from app.sis.sources.settings import FILE_KINDS, UPLOADS, SourceSettings

Mode = Literal["full", "delta"]
PAGE_SIZE = 1000  # The rows of a page, if the source's settings have no page size.
READ_STATES = (RunState.APPLIED, RunState.HELD, RunState.APPROVED, RunState.FAILED_TO_APPLY, RunState.DISCARDED)
"""The states of a run that has already read its source completely."""


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run needs to know before it reads its source.

    The fields include the source with its settings and secrets, the mode, the district's present date, and the files
    that were imported before (`taken`). If a zip was uploaded for the run, `upload_run` is the id of the run, and the
    zip is read in place of the source.
    """

    configured: ConfiguredSource
    secret: str | None
    url: str
    mode: Mode | None
    taken: Sequence[dict[str, Any]]
    today: date
    upload_run: UUID | None = None


@needs(Can.RUN_SYNC)
async def request_run(
    work: Work, source_id: UUID, mode: Mode | None = None, *, dry: bool = False, pointer: str | None = None
) -> SisRun:
    """Requests a run of a source, which the worker then executes. Returns the run.

    Without a mode, the schedule of the source determines the mode. Raises:

    * `NotFound` for an unknown source. If `pointer` is given, raises `Invalid` at this pointer instead.
    * `AlreadyRunning` if a run of the source is pending or a run of the district is running.
    * `Conflict` if a delta is requested and the source had no full run before.
    """
    try:
        configured = await load_source(work, source_id)
    except NotFound:
        if pointer is None:
            raise
        raise Invalid([Violation(pointer, "source.unknown", "There is no such source.")]) from None
    _check_mode(configured, mode)
    return await _create_run(work, source_id, mode, dry, work.principal.name, None)


@needs(Can.APPROVE_SYNC, Can.READ_SYNC)
async def request_undo(work: Work, run_id: UUID) -> SisRun:
    """Requests a run that undoes an applied run, and returns it. Raises the errors of `undo.require_undoable`."""
    undone = (await find_run(work, run_id)).run
    await require_undoable(work, undone)
    return await _create_run(work, undone.source_id, None, False, work.principal.name, run_id)


@needs(Can.APPROVE_SYNC)
async def request_rekey(work: Work, run_id: UUID, match: str | None, pairs: rekey.Pairs | None) -> SisRun:
    """Requests a run that plans new sourcedIds for people whom the run `run_id` would remove. Returns the new run.

    The run `run_id` must wait for approval. People are matched by the field `match` or by the given `pairs`. The new
    run then waits for approval too. Raises `NotFound`, `AlreadyRunning`, and the errors of `rekey.validate_map` and
    `rekey.files_to_rekey`.
    """
    held = (await find_run(work, run_id)).run
    rekey.validate_map(match, pairs)
    rekey.files_to_rekey(held, match, pairs)
    parameters = {"asked": {"of": str(run_id), "match": match, "pairs": [list(pair) for pair in pairs or ()]}}
    return await _create_run(work, held.source_id, rekey.MODE, False, work.principal.name, None, parameters)


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
    in_district = SisRun.district_id == work.district_id
    # The rows of the settings serve as the lock: the second of two concurrent requests sees the run of the first.
    await work.db.execute(
        select(SisSource.id).where(SisSource.district_id == work.district_id).order_by(SisSource.id).with_for_update()
    )
    busy = (SisRun.state == RunState.RUNNING) | ((SisRun.state == RunState.PENDING) & (SisRun.source_id == source_id))
    waiting = (await work.db.execute(select(SisRun.state, SisRun.due).where(in_district, busy))).all()
    # A killed run of the command line is still in state `running`. Its lock is free, and the next run ends it.
    is_queued = any(state == RunState.PENDING or due is not None for state, due in waiting)
    if is_queued or (waiting and await is_syncing(work)):
        raise AlreadyRunning("A sync of this district is pending or running. Try again when it has ended.")
    run = SisRun(
        district_id=work.district_id,
        id=new_id(),
        source_id=source_id,
        state=RunState.PENDING,
        dry=dry,
        began_at=now(),
        due=now(),
        counts={},
        warnings=[],
        sentence="The sync was requested and waits for a worker.",
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
    request: RunRequest = RunRequest(),
    limits: GuardLimits | None = None,
) -> Report:
    """Syncs a district from a source at once, with the settings of the source. Returns the report.

    Raises the errors of `service.sync`.
    """
    async with unit(engine, system_principal(district_id, "sync"), keyring, "sync settings") as work:
        inputs = await _load_inputs(work, source_id, mode, request.run_id, renew=not dry)

    kind = inputs.configured.source.kind

    def opener() -> AbstractAsyncContextManager[OpenedSource]:
        if inputs.upload_run is not None:
            left_out = inputs.configured.settings.left_out
            return open_upload(engine, keyring, district_id, inputs.upload_run, form_of(kind), left_out)
        return cast(
            "AbstractAsyncContextManager[OpenedSource]",
            _open_adapter(inputs, allowed, progress, reimport=mode == "full", or_newest=dry),
        )

    request = RunRequest(request.run_id, request.claim_number, None if kind in FILE_KINDS else inputs.mode)
    return await sync(
        engine, keyring, district_id, opener, inputs.configured.source.name, dry, progress, limits, request, kind=kind
    )


@needs(Can.SYNC_ROSTER)
async def _load_inputs(
    work: Work, source_id: UUID, mode: Mode | None, run_id: UUID | None = None, *, renew: bool = False
) -> RunInputs:
    configured = await load_source(work, source_id)
    zone, row = await zone_of(work), configured.settings
    chosen = _check_mode(configured, mode)
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
    upload_run = run_id if run_id is not None and await has_upload(work, run_id) else None
    return RunInputs(
        configured,
        await open_secret(work, source_id, renew=renew),
        await open_address(work, source_id, renew=renew),
        chosen,
        [file for file in taken if file],
        await today_of(work),
        upload_run,
    )


def _check_mode(configured: ConfiguredSource, mode: Mode | None) -> Mode | None:
    """Returns the requested mode; raises `Conflict` if the source cannot deliver only its changes."""
    if mode == "delta" and configured.source.kind in FILE_KINDS:
        raise Conflict("The manifest of a CSV zip says whether it is a delta: request no mode.", code="run.mode")
    if mode == "delta" and (configured.settings.full_at is None or configured.settings.pulled_until is None):
        raise Conflict(
            "A delta follows a full run that read everything, and there was none yet: run it with --full.",
            code="run.mode",
        )
    return mode


def _open_adapter(
    inputs: RunInputs, allowed: Allowed, progress: Progress, *, reimport: bool = False, or_newest: bool = False
) -> AbstractAsyncContextManager[Any]:
    row, settings = inputs.configured.settings, replace(settings_of(inputs.configured), url=inputs.url)
    if settings.kind in FILE_KINDS:
        left_out, form = settings.left_out, form_of(settings.kind)
        if settings.url == UPLOADS:
            return open_missing_upload(form)
        if is_local(settings.url):
            path = Path(path_of(settings.url))
            return open_path(path, inputs.taken, reimport=reimport, or_newest=or_newest, leave_out=left_out, form=form)
        return open_url(settings.url, allowed, progress, left_out, form)
    since = row.pulled_until if inputs.mode == "delta" else None
    if since is not None:
        since -= timedelta(hours=settings.overlap_hours)
    return open_rest(connection_of(settings, inputs.secret, allowed, inputs.today), since=since, progress=progress)


def connection_of(settings: SourceSettings, secret: str | None, allowed: Allowed, today: date) -> Connection:
    """Returns what the module `oneroster_rest` needs to connect to a source with these settings.

    `secret` is the decrypted client secret. `allowed` are the networks to which connections are allowed. `today` is the
    current day in the district.
    """
    method = settings.auth or "oauth2-basic"
    return Connection(
        version="1.2" if settings.kind == "oneroster-1.2" else "1.1",
        url=settings.url,
        gradebook_url=settings.gradebook_url,
        token_url=settings.token_url,
        auth=cast(Any, method.removesuffix("-sha1")),
        client_id=settings.client_id or "",
        client_secret=secret or "",
        scopes=settings.scopes,
        signature="HMAC-SHA1" if method.endswith("-sha1") else "HMAC-SHA256",
        page_size=settings.page_size or PAGE_SIZE,
        concurrency=settings.concurrency,
        leave_out=frozenset(settings.left_out),
        pull_minutes=settings.pull_minutes,
        pull_gb=settings.pull_gb,
        allow_networks=allowed.networks,
        sandbox=allowed.sandbox,
        today=today,
    )


async def inspect_source(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, source_id: UUID, allowed: Allowed
) -> dict[str, Any]:
    """Inspects a source and returns the findings, without writing anything; raises `NotFound`."""
    async with unit(engine, system_principal(district_id, "sync"), keyring, "sync settings") as work:
        inputs = await _load_inputs(work, source_id, None)
    settings = settings_of(inputs.configured)

    async def judge(source: OpenedSource) -> tuple[int, list[str]]:
        report = await rehearse(engine, keyring, district_id, source_id, source)
        return report.exit_code, report.planned_sentences()

    if settings.kind not in FILE_KINDS:
        return asdict(await explore(connection_of(settings, inputs.secret, allowed, inputs.today), judge))
    ready, exit_code, sentences, facts = False, 5, [], {}
    try:
        async with _open_adapter(inputs, allowed, lambda _step, _done, _of: None, or_newest=True) as source:
            files = {each.file: "bulk" if each.complete else "delta" for each in source.deliveries.values()}
            facts = {"files": files, "not_taken": list(source.not_taken), "taken": source.taken}
            sentences.append(f"{pluralize(len(files), 'file', 'files')} can be imported: {', '.join(sorted(files))}.")
            exit_code, planned = await judge(source)
            ready = True
            sentences += planned
    except (SourceRefused, NothingNew) as error:
        sentences.append(error.detail)
    sentences.append(CAN_READ[exit_code] if ready else CANNOT_READ)
    return {"ready": ready, "exit_code": exit_code, "sentences": sentences, "facts": facts}


@needs(Can.SYNC_ROSTER)
async def save_findings(work: Work, source_id: UUID, findings: dict[str, Any]) -> None:
    """Saves the findings of an inspection. The APIs then show them."""
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    await work.db.execute(
        update(SisSource).where(is_source).values(findings=findings, found_at=now(), look_asked_at=None)
    )

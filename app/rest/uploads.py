"""Owns the route by which a roster zip is sent in REST; the run that reads it is the worker's. Holds no rule.

The one route whose body goes to disk as it comes, before a transaction begins: its sender is looked at first.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from starlette.requests import ClientDisconnect

from app.access.principal import Principal
from app.access.work import Work, unit
from app.core.disk_space import is_full
from app.core.errors import Malformed, StorageFull, Violation
from app.rest.door import House, asks, principal_of, row_id
from app.rest.problem import MEDIA_TYPE, Problem
from app.rest.route import Route
from app.rest.sis import SyncRun, asked_for
from app.sis.runs import pull, queries, upload

ZIP = "application/zip"
router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)


def _told() -> dict[str, Any]:
    """What the contract says of the route: its body, and the answers that no other route gives."""
    told = asks(upload.require_upload_source, upload.claim_slot, pull.request_run, upload.save_upload, queries.run)
    body = {"required": True, "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}
    problem = {"model": Problem, "content": {MEDIA_TYPE: {}}}
    more = {413: "Larger than the operator allows.", 415: "No zip.", 429: "The district sends two already."}
    answers = {status: {**problem, "description": words} for status, words in more.items()}
    return {
        **told,
        "openapi_extra": {**told["openapi_extra"], "requestBody": body},
        "responses": {**told["responses"], **answers},
    }


@router.post("/sis-sources/{source}/roster", status_code=202, operation_id="send_roster", **_told())
async def send_roster(
    request: Request,
    response: Response,
    principal: Annotated[Principal, Depends(principal_of)],
    source: str,
    dry: Annotated[bool, Query(description="Plan and report, and write nothing.")] = False,
) -> SyncRun:
    """Sends a OneRoster CSV zip, 1.1 or 1.2, to a source of CSV; the worker syncs from it. 409 while a run waits."""
    house: House = request.app.state.house
    source_id, operation = row_id("source", source), f"{request.method} {request.scope['route'].path}"
    opened = partial(unit, house.engine, principal, house.keyring, operation)
    async with opened() as work:
        await upload.require_upload_source(work, source_id)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != ZIP:
        raise HTTPException(415, f"Send the zip as it is, with Content-Type: {ZIP}.")
    async with opened() as work:
        slot = await upload.claim_slot(work)
    try:
        with tempfile.TemporaryFile() as file:
            await _receive(request, file, opened, slot)
            await asyncio.to_thread(upload.validate_roster_zip, file)
            async with house.writers.turn(), opened() as work:
                run = await pull.request_run(work, source_id, dry=dry)
                await upload.save_upload(work, run.id, file)
                return await asked_for(work, response, run)
    finally:
        async with opened() as work:
            await upload.renew_slot(work, slot, timedelta(0))


async def _receive(
    request: Request, file: IO[bytes], opened: Callable[[], AbstractAsyncContextManager[Work]], slot: upload.Slot
) -> None:
    """Writes the body to a file as it comes, and keeps the upload's place meanwhile.

    Raises `Malformed` where it breaks off or goes on for too long, `StorageFull` where the disk has no room.
    """
    body = request.stream()
    began = renewed = time.monotonic()
    try:
        while True:
            async with asyncio.timeout(upload.SILENCE):
                chunk = await anext(body, None)
            if chunk is None:
                return
            await asyncio.to_thread(file.write, chunk)
            if time.monotonic() - began > upload.LONGEST:
                raise TimeoutError
            if time.monotonic() - renewed > upload.LEASE.total_seconds() / 3:
                renewed = time.monotonic()
                async with opened() as work:
                    await upload.renew_slot(work, slot)
    except TimeoutError:
        raise Malformed([Violation("", "body.too_slow", "The body came too slowly. Send it again.")]) from None
    except ClientDisconnect:
        raise Malformed([Violation("", "body.cut_off", "The body broke off before its end.")]) from None
    except OSError as error:
        if not is_full(error):
            raise
        raise StorageFull("The disk of the server for uploads is full. An operator must make room.") from None

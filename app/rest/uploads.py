"""Receives a roster zip or a file of scores in REST. The worker then runs a sync from the received file.

Only these routes write a body to disk as it arrives. The sender is authorized before that, in a separate transaction.
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
from app.rest.door import Services, principal_of, refusal, requires, row_id
from app.rest.pages import Shape
from app.rest.route import Route
from app.rest.sis import RUN, accepted_run
from app.sis.runs import pull, queries, upload

BINARY = "application/octet-stream"
"""The only media type in the contract, because client generators do not support application/zip and text/csv.

The service also accepts application/zip for a roster and text/csv for scores.
"""
SCORES = "studentSourcedId,measure,date,value,externalId\r\n4f1a,orf,2026-10-05,43,fall-4f1a-orf\r\n"
"""An example of a file of scores: a student whom the SIS calls 4f1a read 43 words correctly in a minute."""
ACCEPTED = {"oneroster-csv": {BINARY, "application/zip"}, "scores-csv": {BINARY, "text/csv"}}
"""The media types that are accepted for each kind of source."""
router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)
DryQuery = Annotated[bool, Query(description="Whether to plan and report only, and write nothing.")]


def _contract(noun: str, description: str, example: str | None = None) -> dict[str, Any]:
    """Returns an upload route's part of the contract: the request body, and the responses that only uploads have.

    `noun` is the word for the file in messages. `description` describes the body. `example` is an example of the body
    if the body is text.
    """
    contract = requires(
        upload.require_upload_source, upload.claim_slot, pull.request_run, upload.save_upload, queries.run
    )
    content = {"schema": {"type": "string", "format": "binary"}} | ({} if example is None else {"example": example})
    body = {"required": True, "description": description, "content": {BINARY: content}}
    answers = {
        413: refusal("Larger than the operator allows."),
        415: refusal(f"The body is not a {noun}."),
        429: refusal("Too many requests, or the district has two uploads already. Try again later."),
        507: refusal("The server's disk for uploads is full. An operator must make room."),
    }
    return {
        **contract,
        "openapi_extra": {**contract["openapi_extra"], "requestBody": body},
        "responses": {**contract["responses"], **answers},
    }


@router.post(
    "/sis-sources/{source}/roster",
    status_code=202,
    operation_id="send_roster",
    response_model=RUN,
    **_contract("zip", "The zip file as it is. `aimline sandbox export` writes an example."),
)
async def send_roster(
    request: Request,
    response: Response,
    principal: Annotated[Principal, Depends(principal_of)],
    source: str,
    dry: DryQuery = False,
) -> Shape:
    """Receives a OneRoster CSV zip (1.1 or 1.2) for a CSV source; the worker syncs from it.

    The media type is `application/zip` or `application/octet-stream`.
    409 while a run is pending.
    """
    return await _accept(request, response, principal, source, dry, "oneroster-csv")


@router.post(
    "/sis-sources/{source}/scores",
    status_code=202,
    operation_id="send_scores",
    response_model=RUN,
    **_contract("CSV file", "The CSV file as it is. `aimline sandbox scores` writes one.", SCORES),
)
async def send_scores(
    request: Request,
    response: Response,
    principal: Annotated[Principal, Depends(principal_of)],
    source: str,
    dry: DryQuery = False,
) -> Shape:
    """Receives a CSV file of scores for a source of the kind scores-csv; the worker imports it.

    The media type is `text/csv` or `application/octet-stream`.
    The columns are studentSourcedId, measure, date and value, and optionally attempt, form, purpose, externalId and
    status. 409 while a run is pending.
    """
    return await _accept(request, response, principal, source, dry, "scores-csv")


async def _accept(
    request: Request, response: Response, principal: Principal, source: str, dry: bool, kind: str
) -> Shape:
    """Authorizes the sender, receives the body, validates it and requests the run that reads it."""
    services: Services = request.app.state.services
    source_id, operation = row_id("source", source), f"{request.method} {request.scope['route'].path}"
    open_unit = partial(unit, services.engine, principal, services.keyring, operation)
    async with open_unit() as work:
        left_out = await upload.require_upload_source(work, source_id, kind)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in ACCEPTED[kind]:
        noun = upload.form_of(kind).noun
        raise HTTPException(415, f"Send the {noun} as it is, with Content-Type: {' or '.join(sorted(ACCEPTED[kind]))}.")
    async with open_unit() as work:
        slot = await upload.claim_slot(work)
    try:
        with tempfile.TemporaryFile() as file:
            await _receive(request, file, open_unit, slot)
            await asyncio.to_thread(upload.validate_upload, file, kind, left_out)
            async with services.writers.turn(), open_unit() as work:
                run = await pull.request_run(work, source_id, dry=dry)
                await upload.save_upload(work, run.id, file)
                return await accepted_run(work, response, run)
    finally:
        async with open_unit() as work:
            await upload.renew_slot(work, slot, timedelta(0))


async def _receive(
    request: Request, file: IO[bytes], open_unit: Callable[[], AbstractAsyncContextManager[Work]], slot: upload.Slot
) -> None:
    """Writes the body to a file as it arrives.

    `slot` is the reservation of the upload, which expires after a while. It is renewed as long as the body arrives.
    Raises `Malformed` if the body breaks off or takes too long, and `StorageFull` if the disk is full.
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
            if time.monotonic() - began > upload.MAX_UPLOAD_SECONDS:
                raise TimeoutError
            if time.monotonic() - renewed > upload.LEASE.total_seconds() / 3:
                renewed = time.monotonic()
                async with open_unit() as work:
                    await upload.renew_slot(work, slot)
    except TimeoutError:
        raise Malformed([Violation("", "body.too_slow", "The body arrived too slowly. Send it again.")]) from None
    except ClientDisconnect:
        raise Malformed([Violation("", "body.cut_off", "The body broke off before its end.")]) from None
    except OSError as error:
        if not is_full(error):
            raise
        raise StorageFull("The server's disk for uploads is full. An operator must make room.") from None

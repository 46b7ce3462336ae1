"""Answers a subscription with server-sent events, by the protocol "GraphQL over SSE", one connection per subscription.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md ("distinct connections mode")
"""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from app.events.hub import Stopping
from app.graphql.door import Installation, client_of
from app.graphql.json_text import dump
from app.graphql.prepare import STREAM, Preparation
from app.graphql.request import EVENTS, operation_of
from app.graphql.subscriber import Credentials, Subscriber, errors_of, payload_of
from app.team.caseload import ACT_FOR, only_person

COMPLETE = b"event: complete\ndata:\n\n"
ALIVE = b":\n\n"


async def stream_events(
    request: Request, installation: Installation, prepare: Preparation, trace_id: str
) -> StreamingResponse:
    """Returns the streaming response to a subscription.

    If the subscription is refused before it begins, raises an error instead.
    """
    client_of(request, installation)
    operation = await operation_of(request)
    prepared = prepare.prepare(operation, STREAM)
    address = request.client.host if request.client else None
    person = only_person(request.headers.getlist(ACT_FOR))
    credentials = Credentials(request.headers.get("Authorization"), person, trace_id, address)
    results = Subscriber(installation, credentials, prepared, operation, prepare.limits).results()
    await anext(results)
    request.state.is_stream = True
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_messages(results, trace_id), media_type=EVENTS, headers=headers)


async def _messages(results: AsyncIterator[Any], trace_id: str) -> AsyncIterator[bytes]:
    try:
        async for result in results:
            yield ALIVE if result is None else _next(payload_of(result, trace_id))
    except Stopping:
        return  # without `complete`, after which the client would not connect again
    except Exception as error:
        yield _next({"errors": errors_of(error, trace_id)})
    yield COMPLETE


def _next(payload: dict[str, Any]) -> bytes:
    return b"event: next\ndata: " + dump(payload) + b"\n\n"

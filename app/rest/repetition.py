"""Implements the header Idempotency-Key: which routes take it, and how a repeated request is answered.

The response is stored in the transaction of the route, before the commit. A route that opens its transactions itself
therefore takes no key.
"""

from typing import Any

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders

from app.access.principal import Principal
from app.access.work import Work
from app.core.errors import Misuse
from app.requests.idempotency import Answer, KeyedRequest, canonical, find_answer, keyed_request, parse_key, save_answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "A key of your own, quoted or bare, such as a new UUID. For 24 hours the same request with the same key is "
        "carried out once, and answered again as the first time, with `Idempotency-Replayed: true`."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


class Replayed(Exception):
    """Raised for a request that was executed before. Contains the stored response, which is returned instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def response(self) -> Response:
        """Returns the stored response, with a header that marks it as a replay."""
        response = Response(self.answer.body, self.answer.status)
        response.raw_headers.extend(
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in self.answer.headers
        )
        MutableHeaders(raw=response.raw_headers)[REPLAYED] = "true"
        return response


async def note_key(request: Request, principal: Principal) -> None:
    """Reads the idempotency key of a request, and keeps it for `find_stored_response`. Does nothing without a key.

    Raises `Malformed` for an invalid key.
    """
    values = request.headers.getlist(HEADER)
    request.state.keyed = None
    if not values:
        return
    operation = f"{request.method} {request.scope['route'].path}"
    key = parse_key(values, f"/{HEADER}")
    payload = (request.url.path, request.url.query, canonical(await request.body()))
    request.state.keyed = keyed_request(principal, operation, key, *payload)


async def find_stored_response(request: Request, work: Work) -> Answer | None:
    """Returns the response that was stored for a request's idempotency key, or None.

    If there is a response, the disclosure log gets a note that its records are shown once more.
    """
    keyed: KeyedRequest | None = getattr(request.state, "keyed", None)
    if keyed is None:
        return None
    request.state.keyed_work = work
    answer = await find_answer(work, keyed, is_second_attempt=getattr(request.state, "attempt", 1) > 1)
    if answer is not None:
        work.disclose_again(answer.students, answer.kinds)
    return answer


async def store_response(request: Request, response: Response) -> None:
    """Stores the response of a request that has an idempotency key, in the transaction that is about to commit."""
    keyed: KeyedRequest | None = getattr(request.state, "keyed", None)
    if keyed is None:
        return
    work: Work | None = getattr(request.state, "keyed_work", None)
    if work is None:
        raise Misuse("A route that takes an idempotency key has opened no transaction.")
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in response.raw_headers
        if name != b"content-length"
    ]
    answer = Answer(response.status_code, headers, bytes(response.body), *work.shown())
    await save_answer(work, keyed, answer)

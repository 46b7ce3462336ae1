"""Stores the response of a request under its idempotency key, and finds it when the request is repeated.

The response is stored in the same transaction as the effect of the request. If a request fails, its transaction is
rolled back. No response is then stored, and the key may be used again. If several requests with one key arrive at the
same time, an advisory lock lets one request continue and refuses the others before they do any work. The unique key of
the table ensures that the effect happens only once, even across the nodes of a cluster.
"""

import asyncio
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import update

from app.access.principal import Principal, Reach
from app.access.work import Work
from app.core.clock import now
from app.core.crypto import KeyFault
from app.core.errors import Conflict, Gone, Invalid, Malformed, Violation
from app.requests.models import IdempotentRequest

RETENTION: Final = timedelta(hours=24)
MAX_KEY_LENGTH: Final = 255
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""The size in bytes of the largest response body that is stored.

For a larger response, only the fact that the request was executed is stored.
"""
IN_FLIGHT: Final = "idempotency.in_flight"
LOCK_PAUSES: Final = (0.02, 0.08, 0.2)
"""The seconds between the attempts to take the lock when a unit of work is retried.

The database session of the first attempt may not have ended yet.
"""


CLAIM_KEY: Final = "SELECT is_free, sealed FROM app.claim_key($1, $2, $3, $4)"
"""The SQL statement that takes the lock, and then reads the stored answer."""
VISIBLE: Final = "SELECT count(*) FROM person WHERE district_id = $1 AND id = ANY ($2::uuid[])"
"""The SQL statement that counts how many of some people the caller may see."""
INSERT: Final = """INSERT INTO idempotent_request (district_id, digest, client_id, operation, at, answer)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1"""


class InFlight(Conflict):
    """Raised if another request with the same idempotency key has not ended yet."""

    code = IN_FLIGHT
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("The first request with this idempotency key has not ended yet. Send it again shortly.")


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that has an idempotency key.

    `digest` is a digest of the client, the operation and the key. `payload` is a digest of the request's contents.
    """

    digest: bytes
    operation: str
    payload: str

    def lock_in(self, district_id: UUID) -> int:
        """Returns the number of the advisory lock for this request in a district.

        The number depends on the district too, because a client of several districts may use the same key in each of
        them. Without the district, such requests would wait for each other.
        """
        return int.from_bytes(sha256(district_id.bytes + self.digest).digest()[:8], signed=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a request: its status, headers and body, and the students whose records the body shows."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    students: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


def parse_key(values: Sequence[str], pointer: str) -> str:
    """Returns the idempotency key that a client sent, either in quotation marks or without.

    `values` are the values of the header. Raises `Malformed` for an invalid key, with `pointer` as its JSON pointer.
    """
    text = values[0].strip(" \t") if len(values) == 1 else ""
    if text.startswith('"'):
        text = _unquoted(text)
    if not 0 < len(text) <= MAX_KEY_LENGTH or not all("\x20" <= character <= "\x7e" for character in text):
        detail = f"Send one idempotency key of 1 to {MAX_KEY_LENGTH} printable ASCII characters, quoted or bare."
        raise Malformed([Violation(pointer, "idempotency.key_malformed", detail)])
    return text


def _unquoted(text: str) -> str:
    """Returns the text within the quotation marks of a structured-field string (RFC 9651 §3.3.3).

    Returns an empty text if the string is malformed.
    """
    content, is_escaped = "", False
    for place, character in enumerate(text[1:], start=1):
        if is_escaped:
            if character not in '"\\':
                return ""
            content, is_escaped = content + character, False
        elif character == "\\":
            is_escaped = True
        elif character == '"':
            return content if place == len(text) - 1 else ""
        else:
            content += character
    return ""


def keyed_request(principal: Principal, operation: str, key: str, *payload: object) -> KeyedRequest:
    """Returns a request with the digests that identify it.

    The person that the client acts for, and the part of the district that the caller sees, are part of the payload's
    digest. A stored response is therefore shown only to the caller who received it before.
    """
    asker = (principal.person_id, sorted(principal.schools), sorted(principal.opens), principal.reach.value)
    identity = _digest(principal.client_id, operation, key)
    return KeyedRequest(identity, operation, _digest(asker, *payload).hex())


def canonical(body: bytes) -> bytes:
    """Returns a JSON text with the keys of its objects in a fixed order, so that equal payloads have equal texts."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return body


async def find_answer(work: Work, request: KeyedRequest, *, is_second_attempt: bool = False) -> Answer | None:
    """Returns the stored response of a request, or None if the request must be executed now.

    `is_second_attempt` is true if the request is executed again after a fault of the database. The function then waits
    a little for the lock of the key, because the first attempt may still have it. Raises `InFlight` while another
    request has the key, `Invalid` if the key was used with other contents, and `Gone` if the response cannot be shown
    again.
    """
    sealed = await work.run_step(lambda: _lock_and_read(work, request, LOCK_PAUSES if is_second_attempt else ()))
    if sealed is None:
        return None
    try:
        plain = zlib.decompress(work.keyring.open(sealed, *_place(work, request)))
    except KeyFault:
        raise _gone("idempotency.answer_not_kept") from None
    head, _, body = plain.partition(b"\n")
    stored_answer: Mapping[str, Any] = orjson.loads(head)
    if stored_answer["payload"] != request.payload:
        detail = "This key was used for another payload, or for another person or reach. Use a new key."
        raise Invalid([Violation("", "idempotency.mismatch", detail)], code="idempotency.mismatch")
    if not stored_answer["is_whole"]:
        raise _gone("idempotency.answer_not_kept")
    students = frozenset(stored_answer["students"])
    if not _has_terms(work.principal, stored_answer) or not await _sees_all(work, students):
        raise _gone("idempotency.out_of_reach")
    headers = [(name, value) for name, value in stored_answer["headers"]]
    return Answer(stored_answer["status"], headers, body, students, frozenset(stored_answer["kinds"]))


async def save_answer(work: Work, request: KeyedRequest, answer: Answer) -> None:
    """Stores the response of a request; raises `InFlight` if another node has meanwhile executed the same request."""
    is_whole = len(answer.body) <= MAX_ANSWER_BYTES
    head = {
        "payload": request.payload,
        "status": answer.status,
        "headers": answer.headers if is_whole else [],
        "students": sorted(answer.students),
        **_terms_of(work.principal),
        "kinds": sorted(answer.kinds),
        "is_whole": is_whole,
    }
    plain = zlib.compress(orjson.dumps(head) + b"\n" + (answer.body if is_whole else b""))
    sealed = work.keyring.seal(plain, *_place(work, request))
    await work.run_step(lambda: _write(work, request, sealed))


def _terms_of(principal: Principal) -> dict[str, list[str]]:
    """Returns the teams and the scopes of a caller, which a stored response can depend on."""
    return {"teams": sorted(map(str, principal.teams)), "scopes": sorted(can.value for can in principal.scopes)}


def _has_terms(principal: Principal, stored_answer: Mapping[str, Any]) -> bool:
    """Returns whether a caller still has every team and scope that it had when a response was stored.

    An earlier version of the product stored responses without teams and scopes. For such a response the result is True.
    """
    terms = _terms_of(principal)
    return all(set(stored_answer.get(name, ())) <= set(values) for name, values in terms.items())


async def _sees_all(work: Work, students: Collection[str]) -> bool:
    """Returns whether the caller may still see all of these students, who may have moved to another school."""
    principal = work.principal
    if principal.reach is Reach.DISTRICT or not students:
        return True
    if principal.reach is Reach.CASELOAD:
        return set(students) <= {str(student) for student in principal.students}
    rows = await work.run_step(lambda: work.run(VISIBLE, (work.district_id, [UUID(student) for student in students])))
    return int(rows[0][0]) == len(students)


async def _lock_and_read(work: Work, request: KeyedRequest, pauses: Sequence[float]) -> str | None:
    for pause in (*pauses, None):
        key = (work.district_id, request.digest, request.lock_in(work.district_id), now() - RETENTION)
        ((is_free, sealed),) = await work.run(CLAIM_KEY, key)
        if is_free:
            answer: str | None = sealed
            return answer
        if pause is None:
            break
        await asyncio.sleep(pause)
    raise InFlight


async def _write(work: Work, request: KeyedRequest, sealed: str) -> None:
    at = now()
    row = {"client_id": work.principal.client_id, "operation": request.operation, "at": at, "answer": sealed}
    if await work.run(INSERT, (work.district_id, request.digest, *row.values())):
        return
    expired = update(IdempotentRequest).where(
        IdempotentRequest.district_id == work.district_id,
        IdempotentRequest.digest == request.digest,
        IdempotentRequest.at <= at - RETENTION,
    )
    if await work.db.scalar(expired.values(**row).returning(IdempotentRequest.digest)) is None:
        raise InFlight


def _gone(code: str) -> Gone:
    return Gone("The first request with this key was carried out, but its answer cannot be shown again.", code=code)


def _place(work: Work, request: KeyedRequest) -> tuple[object, ...]:
    return "idempotent_request", work.district_id, request.digest.hex()


def _digest(*parts: object) -> bytes:
    hashed = sha256()
    for part in parts:
        encoded = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        # Each part's length is included, so that parts that are divided differently give different digests.
        hashed.update(len(encoded).to_bytes(8) + encoded)
    return hashed.digest()

"""Owns what can go wrong, as values with stable codes. Never names an HTTP status: each face has its own table.

No message ever carries a submitted value: a name or a birth date must not reach a log through an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_VIOLATIONS: Final = 100
"""Violations that one answer lists; how many more there are is said in its detail."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with the input: where (a JSON Pointer, RFC 6901), a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


def with_more(detail: str, more: int) -> str:
    """The detail of an answer that does not list `more` of its violations."""
    return f"{detail} The first {MOST_VIOLATIONS} are listed, and {more} more are not." if more > 0 else detail


class AimlineError(Exception):
    """What a caller did or met, told by a stable `code` and a sentence."""

    code = "internal"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class NotFound(AimlineError):
    """The row is not there, or is not this caller's to see: the two look the same."""

    code = "not_found"

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no such {kind.replace('_', ' ')}.")
        self.kind = kind


class Forbidden(AimlineError):
    """The caller can see the row and lacks the verb."""

    code = "forbidden"


class Unauthenticated(AimlineError):
    """No caller, or one that could not be believed."""

    code = "unauthenticated"


class Conflict(AimlineError):
    """The row's state does not allow the verb."""

    code = "conflict"


class Invalid(AimlineError):
    """Input that cannot be taken, with every violation at once."""

    code = "invalid"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("The request has values that cannot be taken.")
        self.violations = tuple(violations)


OUT_OF_RANGE = Violation("", "value.out_of_range", "A date or a number is beyond what can be reckoned with.")


class Malformed(Invalid):
    """The request itself is off (a parameter, a cursor), whatever it asks for."""

    code = "malformed"


class Gone(AimlineError):
    """What the caller points at was there and is kept no longer."""

    code = "gone"


class Busy(AimlineError):
    """The caller has as much under way as it may; later it can be taken."""

    code = "busy"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 30) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Throttled(AimlineError):
    """The caller sends more than its share; it may try again after so many seconds."""

    code = "rate.limited"

    def __init__(self, detail: str, retry_after: int, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Overloaded(Throttled):
    """The process has more to do than it can, whoever asks."""

    code = "overloaded"


class Unavailable(AimlineError):
    """The database, or a lock in it, is not to be had at the moment. Nothing was changed; the same request may succeed
    after `retry_after` seconds."""

    code = "database.unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class OutcomeUnknown(AimlineError):
    """The connection was lost between COMMIT and its answer. It names no time to retry at: a client that repeats the
    request by itself could carry it out twice."""

    code = "outcome.unknown"

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost while the change was being committed: it was made as a whole or "
            "not at all. Read what it would have changed, or the change feed (GET /v1/events), before you repeat it."
        )


class StorageFull(AimlineError):
    """There is no room left on a disk. Nothing was changed."""

    code = "storage.full"


class Misuse(RuntimeError):
    """A fault of our own code at the door; never the caller's."""

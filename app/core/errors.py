"""Defines the errors that a caller can meet, with stable codes.

Contains no HTTP status; each API maps the errors itself.

No message contains a submitted value, because a name or a birth date must not reach a log through an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_VIOLATIONS: Final = 100
"""The largest number of violations in one response; its detail states how many more there are."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One problem in the input: its place (a JSON Pointer, RFC 6901), a stable code and a sentence."""

    pointer: str
    code: str
    detail: str


def with_more(detail: str, more: int) -> str:
    """Returns a detail that states how many violations a response leaves out."""
    return f"{detail} The first {MAX_VIOLATIONS} are listed, and {more} more are not." if more > 0 else detail


class AimlineError(Exception):
    """Base class of the errors that a caller sees, with a stable `code` and a sentence."""

    code = "internal"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class NotFound(AimlineError):
    """The row does not exist, or this caller may not see it; the two cases look the same."""

    code = "not_found"

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no such {kind.replace('_', ' ')}.")
        self.kind = kind


class Forbidden(AimlineError):
    """The caller can see the row but lacks the permission for the action."""

    code = "forbidden"


class Unauthenticated(AimlineError):
    """The request has no credentials, or they could not be verified."""

    code = "unauthenticated"


class Conflict(AimlineError):
    """The row's state does not allow the action."""

    code = "conflict"


class Invalid(AimlineError):
    """The input is invalid; lists every violation at once."""

    code = "invalid"

    def __init__(self, violations: Sequence[Violation], *, code: str | None = None) -> None:
        super().__init__("The request has invalid values.", code=code)
        self.violations = tuple(violations)


OUT_OF_RANGE = Violation("", "value.out_of_range", "A date or a number is out of range.")


class Malformed(Invalid):
    """The request itself is malformed (a parameter, a cursor), independently of the action it asks for."""

    code = "malformed"


class PreconditionFailed(AimlineError):
    """The row is no longer in the version that the caller has read."""

    code = "version.mismatch"

    def __init__(self) -> None:
        super().__init__("This row has changed since the version that you named. Nothing was changed. Read it again.")


class PreconditionRequired(AimlineError):
    """The change could overwrite another's, so the caller must name the version that it has read."""

    code = "version.required"

    def __init__(self) -> None:
        super().__init__("Name the version that you have read, so that you overwrite nobody's change.")


class Gone(AimlineError):
    """The data that the caller refers to existed and is no longer kept."""

    code = "gone"


class Busy(AimlineError):
    """The caller has reached its limit of work in progress; the request may succeed later."""

    code = "busy"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 30) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Throttled(AimlineError):
    """The caller exceeded its rate; it may try again after `retry_after` seconds."""

    code = "rate.limited"

    def __init__(self, detail: str, retry_after: int, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Overloaded(Throttled):
    """The process has more requests than it can handle, from all callers together."""

    code = "overloaded"


class Unavailable(AimlineError):
    """The database, or a lock in it, is not available now.

    Nothing was changed; the same request may succeed after `retry_after` seconds.
    """

    code = "database.unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class OutcomeUnknown(AimlineError):
    """The connection was lost between COMMIT and its answer, so the change may or may not have been made.

    There is no `retry_after`, because a client that repeats the request automatically could apply it twice.
    """

    code = "outcome.unknown"

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost while the change was being committed: it was made as a whole or "
            "not at all. Read what it would have changed, or the change feed (GET /v1/events), before you repeat it. A "
            "request with an idempotency key can be sent again with the same key."
        )


class StorageFull(AimlineError):
    """A disk is full. Nothing was changed."""

    code = "storage.full"


class Misuse(RuntimeError):
    """Our own code used an internal interface wrongly; never the caller's fault."""

"""Owns what can go wrong, as values with stable codes. Never names an HTTP status: each face has its own table.

No message ever carries a submitted value: a name or a birth date must not reach a log through an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with the input: where (a JSON Pointer, RFC 6901), a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


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


class StorageFull(AimlineError):
    """There is no room left on a disk. Nothing was changed."""

    code = "storage.full"


class Misuse(RuntimeError):
    """A fault of our own code at the door; never the caller's."""

"""Declares and checks the lengths of texts.

An input is a dataclass with a field such as `Annotated[str, Text(min=1, max=400)]`. The services check these lengths,
and the API contracts state them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_type_hints

from app.core.errors import Invalid, Violation

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The first characters that make a spreadsheet treat a text as a formula. The last four are wide forms of others."""

_SHAPELESS: Final = (range(0x2000, 0x2010), range(0x202A, 0x2030), range(0x2060, 0x2065))
EDGE_BLANKS: Final = " \t\n\v\f\r\x1a\x85\xa0\xad\u1680\u2028\u2029\u205f\u3000\ufeff" + "".join(
    chr(code) for codes in _SHAPELESS for code in codes
)
"""The characters that are removed at both ends of a sourcedId: blanks, and characters without a shape."""


def camel(name: str) -> str:
    """Returns a name in camel case, as GraphQL writes it, such as `staffId` for `staff_id`."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def quote_formula(text: str) -> str:
    """Returns a text for a cell of a CSV file.

    If a spreadsheet would run it as a formula, an apostrophe is put before it.
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def unquote_formula(text: str) -> str:
    """Returns a text from a cell of a CSV file without the apostrophe that `quote_formula` has put before it."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


@dataclass(frozen=True, slots=True)
class Text:
    """The minimum and maximum number of characters of a text."""

    max: int
    min: int = 0

    def violations(self, text: str | None, pointer: str) -> list[Violation]:
        """Returns a violation if this text is too short or too long; None is accepted."""
        if text is not None and len(text) < self.min:
            return [Violation(pointer, "shape.string_too_short", f"At least {self.min} characters.")]
        if text is not None and len(text) > self.max:
            return [Violation(pointer, "shape.string_too_long", f"At most {self.max} characters.")]
        return []

    def require(self, text: str | None, pointer: str) -> None:
        """Raises `Invalid` if the text is too short or too long."""
        if violations := self.violations(text, pointer):
            raise Invalid(violations)


@cache
def texts_of(input_type: type) -> Mapping[str, Text]:
    """Returns the declared text lengths of an input type, by field name."""
    hints = get_type_hints(input_type, include_extras=True)
    declared = {name: [item for item in _metadata(hint) if isinstance(item, Text)] for name, hint in hints.items()}
    return {name: texts[0] for name, texts in declared.items() if texts}


def _metadata(hint: Any) -> Iterator[Any]:
    """Yields the metadata of an `Annotated` type.

    The type may also be a part of the hint, as in `Annotated[…] | None`.
    """
    yield from getattr(hint, "__metadata__", ())
    for part in getattr(hint, "__args__", ()):
        yield from _metadata(part)

"""Provides the sentences for malformed values, so that no text of the validation library reaches a caller."""

from collections.abc import Mapping
from typing import Any, Final

DAY: Final = "Give a day as YYYY-MM-DD, without a time"
INSTANT: Final = "Give an instant as a text with its offset, such as 2026-01-05T08:30:00Z"
NUMBER, WHOLE, BOOLEAN = "Give a number", "Give a whole number", "Give true or false"
OTHER: Final = "This value has not the expected form"
OWN: Final = frozenset({"day", "instant", "boolean", "number", "nul", "too_large"})
"""The types of the errors that this package raises itself, with its own messages."""
WORDS: Final[Mapping[str, str]] = {
    "missing": "This is required",
    "extra_forbidden": "There is no such field here",
    "string_type": "Give a text",
    "string_unicode": "Give a text of valid characters",
    "string_too_short": "At least {min_length} characters",
    "string_too_long": "At most {max_length} characters",
    "too_short": "At least {min_length} items",
    "too_long": "At most {max_length} items",
    "list_type": "Give a list",
    "tuple_type": "Give a list",
    "dict_type": "Give an object",
    "model_type": "Give an object",
    "model_attributes_type": "Give an object",
    "literal_error": "Give one of {expected}",
    "enum": "Give one of {expected}",
    "greater_than_equal": "Give {ge} or more",
    "less_than_equal": "Give {le} or less",
    "finite_number": NUMBER,
    "uuid_type": "Give an id",
    "uuid_parsing": "This is not an id of this kind",
    "timezone_aware": INSTANT,
}
PREFIXES: Final = (("datetime_", INSTANT), ("date_", DAY), ("int_", WHOLE), ("float_", NUMBER), ("bool_", BOOLEAN))
"""The words for error types that are not in `WORDS`: pairs of a prefix, and the words for types with this prefix."""


def words_of(error: Mapping[str, Any]) -> str:
    """Returns the sentence for an error of pydantic. It never contains a submitted value."""
    type_ = str(error["type"])
    if type_ in OWN:
        return f"{error['msg']}."
    words = WORDS.get(type_) or next((words for start, words in PREFIXES if type_.startswith(start)), OTHER)
    try:
        return f"{words.format(**error.get('ctx', {}))}."
    except KeyError:
        return f"{OTHER}."

"""Checks the JSON types of a request's values, and refuses a value of another type instead of converting it.

Pydantic would accept an instant or a number as a date, a text as a number, and `1` as true. For a date, only the form
YYYY-MM-DD is accepted, because the day of an instant depends on the time zone.
"""

import re
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from app.rest.violation_words import BOOLEAN, INSTANT, NUMBER, WHOLE
from app.rest.violation_words import DAY as DAY_WORDS

DAY = re.compile(r"\d{4}-\d\d-\d\d")
DETAILS = {
    date: DAY_WORDS,
    datetime: INSTANT,
    bool: BOOLEAN,
    int: WHOLE,
    float: NUMBER,
}
CODES = {date: "day", datetime: "instant", bool: "boolean", int: "number", float: "number"}


def check_value(annotation: Any, value: Any) -> None:
    """Raises an error if the JSON type of a value does not match its annotation.

    The fields of a nested model are checked by that model.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        check_value(arguments[0], value)
    elif origin is list and isinstance(value, list):
        for item in value:
            check_value(arguments[0], item)
    elif origin is dict and isinstance(value, dict):
        for item in value.values():
            check_value(arguments[1], item)
    elif origin is not None and origin is not list and origin is not dict:
        _check_choice([argument for argument in arguments if argument is not type(None)], value)
    elif annotation is AwareDatetime:
        check_value(datetime, value)
    elif annotation in DETAILS and not _has_type(annotation, value):
        raise PydanticCustomError(CODES[annotation], DETAILS[annotation])


def _check_choice(arguments: list[Any], value: Any) -> None:
    """Checks a value whose annotation is one type, or one type and None.

    Does not check a value whose annotation has several types besides None; Pydantic alone checks such a value.
    """
    if value is not None and len(arguments) == 1:
        check_value(arguments[0], value)


def _has_type(kind: type, value: Any) -> bool:
    if kind is date:
        return (isinstance(value, date) and not isinstance(value, datetime)) or (
            isinstance(value, str) and DAY.fullmatch(value.strip()) is not None
        )
    if kind is datetime:
        return isinstance(value, str | datetime)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def annotations_of(model: type) -> dict[str, Any]:
    """Returns the annotations of a model's fields."""
    return get_type_hints(model, include_extras=True)


def _day(value: Any) -> Any:
    check_value(date, value)
    return value


def _number(value: Any) -> Any:
    check_value(float, value)
    return value


Day = Annotated[date, BeforeValidator(_day)]
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number)]

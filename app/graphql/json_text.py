"""Defines `JsonText`, a part of a response that is already serialized as JSON."""

from typing import Any

import orjson


class JsonText:
    """JSON text that is written into a response unchanged.

    It is not a dataclass, because orjson would write the fields of a dataclass.
    """

    __slots__ = ("contents",)

    def __init__(self, contents: bytes) -> None:
        self.contents = contents


def dump(body: Any) -> bytes:
    """Serializes a response body as JSON; each `JsonText` in it is inserted as it is."""
    return orjson.dumps(body, default=_fragment)


def parse(value: Any) -> Any:
    """Returns a response body as Python objects; each `JsonText` in it is parsed."""
    return orjson.loads(dump(value))


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, JsonText):
        return orjson.Fragment(value.contents)
    raise TypeError

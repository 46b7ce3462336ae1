"""Sends a wrong value at every place of a body, in few requests.

The first request has the value at all places at once. Its answer names every place at which the shape of the value is
wrong. Each other place then gets a request of its own, in which the command checks the value.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

import httpx

Place = tuple[str | int, ...]
Send = Callable[[Any], Awaitable[httpx.Response]]


def places_of(body: Any, above: Place = ()) -> Iterator[Place]:
    """Yields the path to every value of a body."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from places_of(value, (*above, key))


def value_at(body: Any, place: Place) -> Any:
    """Returns the value at a place of a body."""
    for key in place:
        body = body[key]
    return body


def spoiled(body: Any, places: Iterable[Place], value: Any) -> Any:
    """Returns a copy of a body with this value at each of the places. No place may be within another."""
    changed = deepcopy(body)
    for place in places:
        value_at(changed, place[:-1])[place[-1]] = value
    return changed


async def places_with_wrong_shape(send: Send, body: Any, places: Iterable[Place], value: Any) -> set[Place]:
    """Sends one body with the value at all of these places. Returns the places at which it is refused for its shape.

    Places that contain other places are left out, because the value would replace those.
    """
    leaves = [place for place in places if not isinstance(value_at(body, place), dict | list)]
    if not leaves:
        return set()
    pointers = refused_shapes(await send(spoiled(body, leaves, value)))
    return {place for place in leaves if pointer_of(place) in pointers}


def refused_shapes(answer: httpx.Response) -> set[str]:
    """Returns the JSON pointers of the values that a response refuses because of their shape.

    Such values are refused before the command is called.
    """
    violations = answer.json()["violations"] if answer.status_code >= 400 else ()
    return {each["pointer"] for each in violations if each["code"].startswith(("shape.", "parameter."))}


def pointer_of(place: Place) -> str:
    """Returns the JSON pointer of a place in a body."""
    return "".join(f"/{key}" for key in place)

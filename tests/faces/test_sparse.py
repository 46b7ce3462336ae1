"""Tests a route that validates only the parameters that a request contains: it answers like a route that validates all
declared parameters.
"""

from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
from fastapi import APIRouter, FastAPI, Query
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from app.rest.route import Route
from app.rest.sparse import MOST_HANDLERS, SparseHandlers

NAMES = ("number", "word", "flag", "sort", "from", "kinds", "must")
VALUES = st.sampled_from(["1", "-1", "abc", "true", "", "9" * 40])


async def _echo(
    must: Annotated[int, Query(le=5)],
    number: Annotated[int | None, Query(ge=0)] = None,
    word: Annotated[str, Query(max_length=3)] = "a",
    flag: bool = False,
    sort: str | None = None,
    from_: Annotated[str | None, Query(alias="from")] = None,
    kinds: Annotated[list[str], Query()] = ["x"],  # noqa: B006  # FastAPI copies it
) -> dict[str, Any]:
    return {"all": [must, number, word, flag, sort, from_, kinds]}


def _app(route_class: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=route_class)
    router.add_api_route("/echo", _echo, methods=["GET"])
    app = FastAPI()
    app.router.routes.extend(router.routes)
    return app


SPARSE, WHOLE = _app(Route), _app(APIRoute)


async def _get(app: FastAPI, query: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get(f"/echo?{query}")
    return response.status_code, response.json()


@given(parameters=st.dictionaries(st.sampled_from(NAMES), VALUES))
async def test_a_parameter_that_is_not_named_has_its_default(parameters: dict[str, str]) -> None:
    """A route that reads only the given parameters gives the same answers and errors as FastAPI's own handling."""
    query = urlencode(parameters)
    assert await _get(SPARSE, query) == await _get(WHOLE, query)


async def test_a_route_keeps_few_handlers() -> None:
    """A route creates a limited number of handlers, even if requests name very many different sets of parameters."""
    route = next(route for route in SPARSE.routes if isinstance(route, Route))
    made: list[object] = []

    def make(dependant: Any) -> Any:
        made.append(dependant)
        return dependant

    handlers = SparseHandlers(route.dependant, make)
    handlers._optional |= {f"p{number}" for number in range(200)}  # a route with many parameters
    for number in range(200):
        request: Any = type("R", (), {"query_params": {f"p{number}": "1"}})()
        assert handlers.for_request(request) is not None
    assert len(made) == 1 + MOST_HANDLERS

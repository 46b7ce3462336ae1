"""Adds routes that are generated from declared resources: for lists, for single rows, and for the links of a row."""

from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.access.permission import Can
from app.resources.declare import CannotCompile, declaration
from app.resources.listing import Listing
from app.resources.members import ManyMember, OneMember
from app.resources.select import ResourceType
from app.rest.derived.answer import Reader
from app.rest.derived.parameters import criterion_parameter, list_parameters, page_parameters, row_parameters
from app.rest.door import OpenWork, requires
from app.rest.route import Route

Endpoint = Callable[..., Awaitable[Response]]
WORK = Parameter("work", Parameter.KEYWORD_ONLY, annotation=OpenWork)
REQUEST = Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)


def add_list(router: APIRouter, reader: Reader, listing: Listing, *, path: str, operation: str, tag: str) -> None:
    """Adds the route that returns the rows of a list."""

    async def answer(work: Any, request: Request, **given: Any) -> Response:
        return await reader.answer_list(work, request, listing, given)

    async def examine(work: Any, refused: frozenset[str], **given: Any) -> None:
        await reader.list_root(work, listing, given, refused)

    shapes = reader.shapes
    model = shapes.page_of(listing.resource) if listing.paged else shapes.list_of(listing.resource)
    permissions = reader.permissions(listing.resource, listing.requires)
    parameters = list_parameters(shapes, listing)
    _add(router, answer, examine, parameters, path, operation, tag, listing.description, model, permissions)


def add_row(
    router: APIRouter,
    reader: Reader,
    resource: ResourceType,
    *,
    path: str,
    operation: str,
    tag: str,
    always: tuple[str, ...] = (),
) -> None:
    """Adds the route that returns one row. The parameter in the path is the row's id or another name of the row.

    `always` lists the links that the row shows even without `expand`.
    """
    name = _parameter_of(path)

    async def answer(work: Any, request: Request, **given: Any) -> Response:
        given["expand"] = [*(given.get("expand") or ()), *always]
        return await reader.answer_row(work, request, resource, given.pop(name), given)

    async def examine(work: Any, refused: frozenset[str], **given: Any) -> None:
        await reader.row_root(work, resource, given.pop(name), given, refused)

    facts = declaration(resource)
    parameters = [_in_path(resource, name), *row_parameters(reader.shapes, resource)]
    permissions = reader.permissions(resource, facts.get_requires)
    words = f"Returns one {_words(facts.name)}."
    model = reader.shapes.with_links(resource, always) if always else reader.shapes.of(resource)
    _add(router, answer, examine, parameters, path, operation, tag, words, model, permissions)


def add_link(
    router: APIRouter,
    reader: Reader,
    resource: ResourceType,
    link_name: str,
    *,
    path: str,
    operation: str,
    tag: str,
) -> None:
    """Adds the route that returns the row, or the rows, to which a link of a given row leads."""
    name = _parameter_of(path)
    shapes = reader.shapes
    link = shapes.catalog.member(resource, link_name)
    if not isinstance(link, OneMember | ManyMember):
        raise CannotCompile(f"{link_name} is no link.")

    async def answer(work: Any, request: Request, **given: Any) -> Response:
        return await reader.answer_link(work, request, resource, link, given.pop(name), given)

    async def examine(work: Any, refused: frozenset[str], **given: Any) -> None:
        await reader.link_root(work, resource, link, given.pop(name), given, refused)

    parameters = [_in_path(resource, name)]
    if isinstance(link, ManyMember):
        parameters += [criterion_parameter(filter_.shown_as("rest"), filter_) for filter_ in link.filters]
    parameters += row_parameters(shapes, link.target)
    if isinstance(link, OneMember):
        model = shapes.of(link.target)
    elif link.paged:
        model = shapes.page_of(link.target)
        parameters += page_parameters()
    else:
        model = shapes.list_of(link.target)
    permissions = reader.permissions(link.target, (*declaration(resource).requires, *link.requires))
    _add(router, answer, examine, parameters, path, operation, tag, link.description, model, permissions)


def _parameter_of(path: str) -> str:
    """Returns the name of the parameter in a path, such as `concern` in `/v1/concerns/{concern}`."""
    return path.partition("{")[2].partition("}")[0]


def _add(
    router: APIRouter,
    answer: Endpoint,
    examine: Callable[..., Awaitable[None]],
    parameters: list[Parameter],
    path: str,
    operation: str,
    tag: str,
    description: str,
    model: Any,
    permissions: tuple[Can, ...],
) -> None:
    answer.__name__ = operation
    answer.__signature__ = Signature([WORK, REQUEST, *parameters], return_annotation=Response)  # type: ignore[attr-defined]  # FastAPI reads it
    router.add_api_route(
        path,
        answer,
        methods=["GET"],
        operation_id=operation,
        description=description,
        response_model=model,
        tags=[tag],
        **requires(scopes=permissions),
    )
    added = router.routes[-1]
    if isinstance(added, Route):
        added.direct, added.examine = answer, examine


def _in_path(resource: ResourceType, name: str) -> Parameter:
    facts = declaration(resource)
    words = f"The id of the {_words(facts.name)}"
    if facts.locate is not None:
        words += ", or its external id `sis:<source>:<sourcedId>`"
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Path(description=f"{words}.")])


def _words(name: str) -> str:
    """Returns the name of a type as separate words, such as `school break` for `SchoolBreak`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()

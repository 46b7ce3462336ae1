"""Adds to a router the routes that are generated from declared commands, and answers their requests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.access.permission import Can
from app.access.work import Work, required_permissions
from app.core import ids
from app.core.errors import Invalid
from app.core.inputs import InputField, input_fields
from app.core.violations import UNREAD, partial_input, without_unread
from app.requests.malformed import Misshapen, all_violations
from app.resources.command import PARAMETER, Command
from app.resources.complete import render_value
from app.resources.declare import declaration
from app.resources.run import read
from app.resources.select import REST_STYLE, ResourceType, WrittenRoot
from app.rest.derived.answer import JSON, Reader
from app.rest.derived.bulk import BulkShapes, run_body
from app.rest.derived.inputs import Bodies, known_values_of, values_of
from app.rest.derived.routes import REQUEST, WORK
from app.rest.derived.selection import permissions_of_picks, picks_of
from app.rest.door import requires, row_id
from app.rest.malformed import MalformedBody, lenient
from app.rest.pages import Shape

BODY = "body"
ACCEPTED = 202
"""The status of a command that the worker carries out later; the header `Location` has the address of the row."""
Endpoint = Callable[..., Awaitable[Response]]


class Commands:
    """Generates the routes of commands, with the response models of the resources that REST serves."""

    def __init__(self, reader: Reader, places: Mapping[ResourceType, str]) -> None:
        """Creates the builder of the routes.

        `places` maps a resource to the path at which one of its rows can be read.
        """
        self.reader = reader
        self.bodies = Bodies()
        self.places = places
        self._answers: dict[str, type[Shape]] = {}
        self.bulk = BulkShapes(reader.shapes)
        self._by_kind = {declaration(resource).kind: resource for resource in reader.catalog.resources}

    def add(self, router: APIRouter, command: Command, *, tag: str) -> None:
        """Adds the routes of a command: a route for one item, a route for several items, or both."""
        if command.inputs.items is None:
            self._add_one(router, command, tag)
        elif command.single is not None:
            self._add_single(router, command, tag)
        if command.bulk is not None:
            self._add_bulk(router, command, tag)

    def permissions(self, command: Command) -> tuple[Can, ...]:
        """Returns the permissions for a command: its own, and the permissions for the links that its response shows."""
        needed = list(required_permissions(command.function))
        shown = command.rest_result or command.result
        if shown is not None:
            shapes = self.reader.shapes
            needed += permissions_of_picks(shapes.catalog, shown, picks_of(shapes, shown, {}))
        return tuple(dict.fromkeys(needed))

    def _add_one(self, router: APIRouter, command: Command, tag: str) -> None:
        body = self.bodies.of(command)

        async def answer(work: Any, request: Request, **given: Any) -> Response:
            await _refuse_malformed(work, command, given, request)
            arguments, named = _arguments(command, given), _named(command, given, request)
            result = await command.function(work, *arguments, **named)
            return await self._answer(work, command, result, arguments)

        self._add_route(router, command, answer, body, tag)

    def _add_single(self, router: APIRouter, command: Command, tag: str) -> None:
        """Adds the route that takes a single item, for a command whose function takes a list of items."""
        single, input_type = command.single, command.inputs.type
        assert single is not None  # noqa: S101  # the caller has checked it
        one = replace(
            command,
            name=single.name,
            description=single.description,
            rest=single.rest,
            status=single.status,
            created=single.created,
        )

        async def answer(work: Any, request: Request, **given: Any) -> Response:
            await _refuse_malformed_item(work, one, given)
            arguments = _arguments(one, given)
            item = input_type(**values_of(given[BODY], input_fields(input_type)))
            (result,) = await command.function(work, *arguments, [item], at="")
            if result.violations:
                raise Invalid(result.violations)
            return await self._answer(work, one, result, arguments)

        self._add_route(router, one, answer, self.bodies.nested(input_type), tag)

    def _add_bulk(self, router: APIRouter, command: Command, tag: str) -> None:
        many = replace(
            command,
            name=command.bulk_name,
            rest=command.bulk_rest,
            description=command.bulk_words,
            status=200,
            created=None,
        )

        async def answer(work: Any, request: Request, **given: Any) -> Response:
            if isinstance(body := given[BODY], MalformedBody):
                raise Misshapen(body.violations)
            results = await run_body(work, command, _arguments(command, given), body)
            return await self.bulk.answer(work, command, results)

        self._add_route(router, many, answer, self.bodies.bulk_of(command), tag, self.bulk.of(command))

    def _add_route(
        self, router: APIRouter, command: Command, answer: Endpoint, body: Any, tag: str, model: Any = None
    ) -> None:
        method, path = command.rest.split(" ")
        if model is None:
            model = self._model(command)
        answer.__name__ = command.name
        parameters = [_path_parameter(name) for name in command.path]
        if body is not None:
            parameters.append(Parameter(BODY, Parameter.KEYWORD_ONLY, annotation=lenient(body)))
        answer.__signature__ = Signature(  # type: ignore[attr-defined]  # FastAPI reads it
            [WORK, REQUEST, *parameters], return_annotation=Response
        )
        answers: Mapping[int, Any] = {}
        if command.created is not None:
            answers = {200: {"model": model, "description": "It existed already."}}
        router.add_api_route(
            path,
            answer,
            methods=[method],
            status_code=command.status,
            operation_id=command.name,
            description=f"{command.description} {command.more}".strip(),
            response_model=model,
            tags=[tag],
            **requires(scopes=self.permissions(command), answers=dict(answers), has_version=self._has_version(command)),
        )

    def _has_version(self, command: Command) -> bool:
        """Returns whether clients may send `If-Match` for a command whose response does not show the changed row.

        This is so if the command returns nothing, and the row in the path has a version.
        """
        if not command.path or command.result is not None or command.value is not None:
            return False
        resource = self._by_kind.get(_kind_of(command.path[-1]))
        return resource is not None and "version" in self.reader.catalog.members(resource)

    def _model(self, command: Command) -> type[Shape] | None:
        """Returns the model of a command's response, or None if the response is empty.

        It has the fields of the row, the other values of the command's result, or both.
        """
        shapes, shown = self.reader.shapes, command.rest_result or command.result
        if command.value is None:
            return None if shown is None else shapes.of(shown)
        name = command.answer or command.value.__name__.removesuffix("Value")
        if name not in self._answers:
            base = Shape if shown is None else shapes.of(shown)
            self._answers[name] = shapes.values_model(command.value, name, base)
        return self._answers[name]

    async def _answer(self, work: Work, command: Command, result: Any, arguments: list[Any]) -> Response:
        shown = command.rest_result or command.result
        if command.value is not None:
            return self._answer_value(command, result)
        if shown is None:
            return Response(status_code=command.status)
        status = command.status if command.created is None or command.created(result) else 200
        row = result if command.row is None else command.row(result)
        shapes = self.reader.shapes
        if command.rest_result is None and shapes.is_stored(shown):
            return Response(shapes.render(shown, row).model_dump_json(), status, media_type=JSON)
        shown_id = row.id if command.rest_result is None else arguments[0]
        response = Response(await self._read(work, shown, shown_id), status, media_type=JSON)
        if status == ACCEPTED:
            shown_as = ids.format_id(str(declaration(shown).kind), shown_id)
            response.headers["Location"] = f"/v1/{PARAMETER.sub(shown_as, self.places[shown])}"
        return response

    def _answer_value(self, command: Command, result: Any) -> Response:
        model = self._model(command)
        assert model is not None  # noqa: S101  # a command with a value has one
        values = dict(render_value(result, command.value, (), REST_STYLE))
        if command.result is not None:
            row = result if command.row is None else command.row(result)
            values = self.reader.shapes.values_of(command.result, row) | values
        return Response(model.model_construct(**values).model_dump_json(), command.status, media_type=JSON)

    async def _read(self, work: Work, resource: ResourceType, shown_id: Any) -> bytes:
        """Returns the row that a command has written, as JSON text.

        The caller needs only the permissions of the command, and those of the links that the response shows.
        """
        root = WrittenRoot("", resource, (shown_id,), picks_of(self.reader.shapes, resource, {}))
        (answer,) = await read(work, self.reader.catalog, (root,), REST_STYLE)
        for error in answer.errors:
            raise error.error
        marker = b'"row":'
        return answer.text[answer.text.index(marker) + len(marker) : -len(b"}]")]


def _arguments(command: Command, given: Mapping[str, Any]) -> list[Any]:
    """Returns a command's positional arguments: the id of the row to change, if the path contains an id.

    Raises `NotFound` if the text in the path is not a valid id.
    """
    row = command.inputs.path
    return [] if row is None else [_in_path(command.path[0], given[command.path[0]], row)]


async def _refuse_malformed(work: Work, command: Command, given: Mapping[str, Any], request: Request) -> None:
    """Raises `Misshapen` if the body is malformed.

    The error also lists the violations that the command finds in the well-formed values.
    """
    body = given.get(BODY)
    if not isinstance(body, MalformedBody):
        return

    async def run() -> Any:
        return await command.function(work, *_arguments(command, given), **_named(command, given, request))

    raise Misshapen(await all_violations(work, body.violations, run))


async def _refuse_malformed_item(work: Work, command: Command, given: Mapping[str, Any]) -> None:
    """Raises `Misshapen` if the body is malformed, for a command whose function takes a list of items.

    The error also lists the violations that the command finds in the well-formed values.
    """
    body = given[BODY]
    if not isinstance(body, MalformedBody):
        return
    item = partial_input(command.inputs.type, known_values_of(body, input_fields(command.inputs.type)))

    async def run() -> None:
        (result,) = await command.function(work, *_arguments(command, given), [item], at="")
        raise Invalid(result.violations)

    raise Misshapen(await all_violations(work, body.violations, run))


def _named(command: Command, given: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Returns a command's keyword arguments.

    They are the fields of the body, the ids in the path after the first one, and the services that the server provides,
    such as the settings. A malformed field of the body has the value `UNREAD`. If the command takes its fields as one
    dataclass, reading a malformed field of that dataclass raises `Unread`.
    """
    inputs, services = command.inputs, request.app.state.services
    values: dict[str, Any] = {}
    if BODY in given:
        body, own = given[BODY], {name: each for name, each in inputs.fields.items() if name not in command.path}
        if isinstance(body, MalformedBody):
            values = _known_of_body(body, own, changes=inputs.changes is not None)
        else:
            values = values_of(body, own, changes=inputs.changes is not None)
    if inputs.changes is not None:
        values = {inputs.changes: values}
    elif inputs.whole is not None:
        names = inputs.type.__dataclass_fields__
        own_values = {name: values.pop(name) for name in [*values] if name in names}
        values[inputs.whole] = partial_input(inputs.type, without_unread(own_values))
    for name in command.path[1:]:
        row_id(_kind_of(name), given[name])
        values[name] = given[name]
    return values | {name: getattr(services, setting) for name, setting in inputs.process.items()}


def _known_of_body(body: MalformedBody, own: Mapping[str, InputField], *, changes: bool) -> dict[str, Any]:
    accepted = known_values_of(body, own)
    if changes:
        own = {name: each for name, each in own.items() if name in body.sent}
    return {name: accepted.get(name, UNREAD) for name in own}


def _kind_of(name: str) -> str:
    """Returns the kind of id that a path parameter takes, such as `class` for `class_`."""
    return name.rstrip("_")


def _in_path(name: str, text: str, declared: InputField) -> Any:
    return text if declared.type is str else row_id(_kind_of(name), text)


def _path_parameter(name: str) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Path()])

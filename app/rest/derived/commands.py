"""Adds the derived routes of commands to a router, and answers them."""

from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.access.permission import Can
from app.access.work import Work, required_permissions
from app.core.inputs import InputField
from app.resources.command import Command
from app.resources.declare import declaration
from app.resources.run import read
from app.resources.select import REST_STYLE, ResourceType, WrittenRoot
from app.rest.derived.answer import JSON, Reader
from app.rest.derived.inputs import Bodies, values_of
from app.rest.derived.routes import REQUEST, WORK
from app.rest.derived.selection import permissions_of_picks, picks_of
from app.rest.door import requires, row_id

BODY = "body"


class Commands:
    """Derives the routes of commands, with the shapes of the resources that REST serves."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.bodies = Bodies()
        self._by_kind = {declaration(resource).kind: resource for resource in reader.catalog.resources}

    def add(self, router: APIRouter, command: Command, *, tag: str) -> None:
        """Adds the route of a command."""
        method, path = command.rest.split(" ")
        inputs = command.inputs
        body = self.bodies.of(command)
        shown = command.rest_result or command.result

        async def answer(work: Any, request: Request, **given: Any) -> Response:
            arguments = [_in_path(name, given[name], inputs.path) for name in command.path if inputs.path is not None]
            named: dict[str, Any] = {}
            if body is not None:
                values = values_of(given[BODY], inputs.fields, partial=inputs.changes is not None)
                if inputs.changes is not None:
                    named = {inputs.changes: values}
                elif inputs.whole is not None:
                    named = {inputs.whole: inputs.type(**values)}
                else:
                    named = values
            result = await command.function(work, *arguments, **named)
            return await self._answer(work, command, result, arguments)

        answer.__name__ = command.name
        parameters = [_path_parameter(name) for name in command.path]
        if body is not None:
            parameters.append(Parameter(BODY, Parameter.KEYWORD_ONLY, annotation=body))
        answer.__signature__ = Signature(  # type: ignore[attr-defined]  # FastAPI reads it
            [WORK, REQUEST, *parameters], return_annotation=Response
        )
        model = None if shown is None else self.reader.shapes.of(shown)
        answers = {}
        if command.created is not None:
            answers = {200: {"model": model, "description": "It exists already."}}
        router.add_api_route(
            path,
            answer,
            methods=[method],
            status_code=command.status,
            operation_id=command.name,
            description=f"{command.description} {command.more}".strip(),
            response_model=model,
            tags=[tag],
            **requires(scopes=self.permissions(command), answers=answers, has_version=self._has_version(command)),
        )

    def permissions(self, command: Command) -> tuple[Can, ...]:
        """Returns the permissions that a command requires, with those of the links that its answer shows."""
        needed = list(required_permissions(command.function))
        shown = command.rest_result or command.result
        if shown is not None:
            shapes = self.reader.shapes
            needed += permissions_of_picks(shapes.catalog, shown, picks_of(shapes, shown, {}))
        return tuple(dict.fromkeys(needed))

    def _has_version(self, command: Command) -> bool:
        """Returns whether the row in the path has a version although the answer does not show the row."""
        if not command.path or command.result is not None:
            return False
        resource = self._by_kind.get(kind_of(command.path[-1]))
        return resource is not None and "version" in self.reader.catalog.members(resource)

    async def _answer(self, work: Work, command: Command, result: Any, arguments: list[Any]) -> Response:
        shown = command.rest_result or command.result
        if shown is None:
            return Response(status_code=command.status)
        status = command.status if command.created is None or command.created(result) else 200
        row = result if command.row is None else command.row(result)
        shapes = self.reader.shapes
        if command.rest_result is None and shapes.is_stored(shown):
            return Response(shapes.render(shown, row).model_dump_json(), status, media_type=JSON)
        shown_id = row.id if command.rest_result is None else arguments[0]
        return Response(await self._read(work, shown, shown_id), status, media_type=JSON)

    async def _read(self, work: Work, resource: ResourceType, shown_id: Any) -> bytes:
        """Returns the row that a command has written as JSON text. It needs no permission but the command's and those
        of its links.
        """
        root = WrittenRoot("", resource, (shown_id,), picks_of(self.reader.shapes, resource, {}))
        (answer,) = await read(work, self.reader.catalog, (root,), REST_STYLE)
        for error in answer.errors:
            raise error.error
        marker = b'"row":'
        return answer.text[answer.text.index(marker) + len(marker) : -len(b"}]")]


def kind_of(name: str) -> str:
    """Returns the kind of id that a parameter of a path takes: `class` for `class_`."""
    return name.rstrip("_")


def _in_path(name: str, text: str, declared: InputField) -> Any:
    return text if declared.type is str else row_id(kind_of(name), text)


def _path_parameter(name: str) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Path()])

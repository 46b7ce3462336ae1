"""Generates the response models of commands with several items, and the responses."""

from collections.abc import Sequence
from typing import Any, Literal, Optional, cast
from uuid import UUID

import orjson
from fastapi import Response
from pydantic import Field

from app.access.work import Work
from app.core.errors import MAX_VIOLATIONS
from app.core.inputs import input_fields
from app.requests.bulk import ItemOutcome, ItemResult, Malformed
from app.resources.command import Command, run_items
from app.resources.declare import declaration
from app.resources.run import read
from app.resources.select import REST_STYLE, ResourceType, WrittenRoot
from app.rest.derived.answer import JSON
from app.rest.derived.inputs import BULK_OPTIONS, values_of
from app.rest.derived.selection import picks_of
from app.rest.derived.shapes import Shapes, make_model
from app.rest.pages import Input, Shape
from app.rest.problem import ViolationShape
from app.roster.student_lock import lock_named_subjects

OUTCOME = (
    "What was done with the item: `recorded`, `amended`, `unchanged`, `refused`, or with `atomic`, if another item was "
    "refused, `not_applied`."
)
VIOLATIONS = (
    f"Why it was refused; empty otherwise. All results together list at most {MAX_VIOLATIONS} violations. If there are "
    "more, a last one with the code `violations.more` states how many; send the refused items without a reason again "
    "to read theirs."
)


class BulkShapes:
    """The response models of operations with several items."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._items: dict[str, type[Shape]] = {}

    def of(self, command: Command) -> type[Shape]:
        """Returns the model of a command's response, which has one result for each item, in order."""
        item = self._item(command)
        words = "One result for each item, in the order in which they were sent."
        fields = {"results": (list[item], Field(description=words))}  # type: ignore[valid-type]  # made at run time
        name = str(command.items).title().replace("_", "")
        return make_model(f"Recorded{name}", "The results of a request with items.", fields)

    def row_name(self, command: Command) -> str:
        """Returns the name of the field that shows the written row in a result: `concern` for `raise_concern`."""
        facts = declaration(command.result)
        return facts.kind or facts.name.lower()

    async def answer(self, work: Work, command: Command, results: Sequence[ItemResult]) -> Response:
        """Returns the response that lists these results, each with its row as it is now."""
        rows_by_id = await self._rows(work, command.result, results)
        item, name = self._item(command), self.row_name(command)
        rows = []
        for result in results:
            values: dict[str, Any] = {
                "outcome": result.outcome,
                name: None if result.row is None else rows_by_id[result.row.id],
                "violations": [ViolationShape.of(each) for each in result.violations],
            }
            rows.append(item.model_construct(**values))
        text = self.of(command).model_construct(results=rows).model_dump_json()
        return Response(text, media_type=JSON)

    async def _rows(self, work: Work, resource: ResourceType, results: Sequence[ItemResult]) -> dict[UUID, Shape]:
        """Returns the rows of the results as the response shows them, keyed by id.

        If the response shows values that are stored in other tables, one statement reads all rows again. Otherwise
        nothing is read.
        """
        rows = {result.row.id: result.row for result in results if result.row is not None}
        if self.shapes.is_stored(resource) or not rows:
            return {row_id: self.shapes.render(resource, row) for row_id, row in rows.items()}
        root = WrittenRoot("", resource, tuple(rows), picks_of(self.shapes, resource, {}))
        (answer,) = await read(work, self.shapes.catalog, (root,), REST_STYLE)
        for error in answer.errors:
            raise error.error
        model = self.shapes.of(resource)
        shown = {UUID(each["id"]): each["row"] for each in orjson.loads(answer.text)}
        return {row_id: model.model_validate_json(orjson.dumps(row)) for row_id, row in shown.items()}

    def _item(self, command: Command) -> type[Shape]:
        name, row_name = declaration(command.result).name, self.row_name(command)
        if name not in self._items:
            outcomes = cast(Any, Literal)[tuple(outcome.value for outcome in ItemOutcome)]
            words = f"The {row_name.replace('_', ' ')} as it is now; null if it was refused, or if nothing was written."
            row: Any = Optional[self.shapes.of(command.result)]  # noqa: UP045 - a type that is made at run time
            fields: dict[str, Any] = {
                "outcome": (outcomes, Field(description=OUTCOME)),
                row_name: (row, Field(description=words)),
                "violations": (list[ViolationShape], Field(description=VIOLATIONS)),
            }
            self._items[name] = make_model(f"Recorded{name}", "The result for one item of a request.", fields)
        return self._items[name]


async def run_body(work: Work, command: Command, arguments: Sequence[Any], body: Input) -> list[ItemResult]:
    """Runs a command for each item of a request body, and returns the results in order."""
    inputs = command.inputs
    items = [_item(item, inputs.type) for item in getattr(body, str(command.items))]
    named = {} if inputs.items is None else values_of(body, inputs.fields)
    options = {option: getattr(body, option) for option in BULK_OPTIONS}
    return await run_items(work, command, arguments, items, named, lock=lock_named_subjects, **options)


def _item(item: Any, input_type: Any) -> Any:
    return item if isinstance(item, Malformed) else input_type(**values_of(item, input_fields(input_type)))

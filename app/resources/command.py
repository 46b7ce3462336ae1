"""Declares commands, from which the operations of both APIs are generated, and runs a command for several items."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.access.permission import Can
from app.access.work import Work, needs, required_permissions
from app.core import ids
from app.core.inputs import CommandInputs, command_inputs
from app.events.catalogue import EventType
from app.requests.bulk import ItemOutcome, ItemResult, run_bulk, run_each
from app.resources.values import Value

PARAMETER = re.compile(r"\{(\w+)\}")
"""A parameter in a path."""


@dataclass(frozen=True)
class Body:
    """The name and description of a command's request body in REST. Commands with equal inputs can share a `Body`."""

    name: str
    description: str


@dataclass(frozen=True)
class Single:
    """The operation that takes a single item. It is declared if the command's function takes a list of items."""

    name: str
    description: str
    rest: str
    status: int = 200
    created: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class Command:
    """A command of a package's service, declared once for both APIs.

    The inputs are the parameters of `function`, which also states their bounds and descriptions (`app.core.inputs`).

    * `result` is the resource that the command returns, or None.
    * `rest` is REST's method and path. A parameter in the path is the id of the row that the command is about.
    * `emits` are the events that the command can record.
    * `bulk` is the largest number of items in one bulk call. Each item has its own result, in order. The caller can
      request that all items are written or none (`atomic`), or that nothing is written at all (`dry_run`).
    * `items` is the name of the list in a bulk call, such as `concerns`. The bulk operation is named after it: for the
      command `raise_concern`, it is `raise_concerns`.
    * `single` is the single-item operation, or None. It is used only if the function itself takes a list.
    * `row` is a function that takes the return value of `function` and returns the row. Without it, the return value is
      the row.
    * `value` describes what the command returns in addition to the row. `answer` is the name that REST gives to this
      response.
    * `body` describes REST's request body. By default it has the name and the description of the input's dataclass.
    * `created` is set for a command that may find an existing row instead of creating one. It takes the return value of
      `function` and returns whether the row is new. REST answers a new row with the HTTP status `status`, and an
      existing row with 200.
    * `rest_result`, if set, is the resource of the row in the path. REST then returns this row instead of `result`.
    * `more` is text that REST adds to the description.
    * `sometimes` are permissions that the caller needs only for some inputs. The command's description states for which
      inputs.
    """

    name: str
    function: Callable[..., Any]
    result: Any
    description: str
    rest: str
    emits: tuple[EventType, ...] = ()
    status: int = 200
    bulk: int | None = None
    items: str | None = None
    row: Callable[[Any], Any] | None = None
    value: type[Value] | None = None
    body: Body | None = None
    created: Callable[[Any], bool] | None = None
    rest_result: Any = None
    more: str = ""
    answer: str | None = None
    sometimes: tuple[Can, ...] = ()
    single: Single | None = None

    @property
    def bulk_name(self) -> str:
        """The name of the bulk operation."""
        return self.name if self.inputs.items is not None else f"{self.name.partition('_')[0]}_{self.items}"

    @property
    def bulk_words(self) -> str:
        """The description of the bulk operation."""
        if self.inputs.items is not None:
            return self.description
        return f"{self.description} For up to {self.bulk} items, each with its own result."

    @property
    def bulk_rest(self) -> str:
        """The HTTP method and the path of the bulk operation in REST."""
        return self.rest if self.inputs.items is not None else f"{self.rest}/bulk"

    @property
    def inputs(self) -> CommandInputs:
        """The inputs of the command."""
        return command_inputs(self.function, names_row="{" in self.rest)

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the parameters in the command's REST path, in order."""
        return tuple(PARAMETER.findall(self.rest))


async def run_items(
    work: Work,
    command: Command,
    arguments: Sequence[Any],
    items: Sequence[Any],
    named: Mapping[str, Any],
    *,
    lock: Callable[[Work], Awaitable[None]],
    atomic: bool = False,
    dry_run: bool = False,
) -> list[ItemResult]:
    """Runs a command for several items, and returns a result for each item, as `app.requests.bulk.run_bulk` does.

    * `arguments` has the ids in the path, and `named` has the inputs other than the list of items.
    * `items` has the command's input for each item, or a `Malformed` for a malformed item.
    * `lock` locks the row in the path, and the students that the items name (`Work.named_subjects`).
    """
    at = f"/{command.items}"
    if command.path:
        work.named_rows |= {ids.format_id(command.path[0], arguments[0])}
    permitted_lock = needs(*required_permissions(command.function))(lock)

    async def run(chosen: Sequence[Any], positions: Sequence[int]) -> list[ItemResult]:
        if command.inputs.items is None:
            run_one, row_kind = partial(command.function, work, *arguments), (*command.path, None)[0]
            results = await run_each(work, run_one, chosen, positions, at, permitted_lock, row_kind)
            return [_single(command, result) for result in results]
        results = await command.function(work, *arguments, chosen, at=at, positions=positions, **named)
        return [
            ItemResult(each.outcome, each if command.row is None else command.row(each), each.violations)
            for each in results
        ]

    most = int(command.bulk or 0)
    return await run_bulk(work, run, items, at, most=most, atomic=atomic, dry_run=dry_run)


def _single(command: Command, result: ItemResult) -> ItemResult:
    """Converts the result of one item of a bulk call into the result of the single-item operation.

    `command.row` takes the row from what the command returned. If the command found an existing row instead of creating
    one, the outcome becomes `unchanged`.
    """
    if result.row is None:
        return result
    was_there = command.created is not None and not command.created(result.row)
    outcome = ItemOutcome.UNCHANGED if was_there else result.outcome
    return replace(result, outcome=outcome, row=result.row if command.row is None else command.row(result.row))

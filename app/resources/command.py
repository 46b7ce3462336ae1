"""Declares commands, which both APIs derive from the declaration."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.core.inputs import CommandInputs, command_inputs
from app.events.catalogue import EventType
from app.resources.values import Value

PARAMETER = re.compile(r"\{(\w+)\}")
"""A parameter in a path."""


@dataclass(frozen=True)
class Body:
    """The name and the description of a command's request body in REST. Commands with equal inputs can share one."""

    name: str
    description: str


@dataclass(frozen=True)
class Command:
    """A command of a package's service, for both APIs.

    The inputs are those of `function`, which states their bounds and descriptions (`app.core.inputs`). `result`: the
    resource that the command returns, or None. `rest`: method and path; the path's parameter is the id of the row.
    `emits`: the events that the command can record. `bulk`: the largest number of items of one call; each item has its
    own result, and the items are under the name `items`.

    `row`: a function that returns the row in what the command returns, if that is not the row itself. `value`: the
    items of what the command returns beside the row. `body`: REST's request body; by default it has the name and the
    description of the input's dataclass. `created`: returns whether the row is new,
    of a command that may find it there: REST then answers `status`, otherwise 200. `rest_result`: the resource of the
    row in the path, which REST shows instead of `result`. `more`: a longer description for REST.
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

    @property
    def inputs(self) -> CommandInputs:
        """The inputs of the command."""
        return command_inputs(self.function, names_row="{" in self.rest)

    @property
    def path(self) -> tuple[str, ...]:
        """The parameters of REST's path, in order."""
        return tuple(PARAMETER.findall(self.rest))

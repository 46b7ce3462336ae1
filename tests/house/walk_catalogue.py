"""Provides example values for the inputs that the catalogue declares, so that tests call every filter and command."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from app.catalog import CATALOG
from app.core.inputs import input_fields
from app.resources.command import Command
from app.resources.listing import Filter
from app.resources.members import ManyMember


def filter_values() -> dict[str, Any]:
    """Returns an example value for each flag of a list, and for each filter that is not a reference to a row. The keys
    are their names.
    """
    named: dict[str, Any] = {"q": "family", "updated_since": "2020-01-01T00:00:00Z"}
    for listing in CATALOG.listings.values():
        named |= {flag.name: "true" for flag in listing.flags}
        named |= _examples(listing.filters)
    for resource in CATALOG.resources:
        for member in CATALOG.members(resource).values():
            named |= _examples(member.filters) if isinstance(member, ManyMember) else {}
    return named


def command_values() -> dict[tuple[str, str], Any]:
    """Returns an example value for each input of a declared command, keyed by the names of the command and the input.

    Inputs that are objects or lists of objects are left out. Their values can be made from the examples of their
    fields.
    """
    return {
        (operation, name): written(example)
        for command in CATALOG.commands.values()
        for operation in _operations(command)
        for name, example in _inputs(command.inputs)
    }


def _operations(command: Command) -> Iterator[str]:
    """Yields the names of the operations that one command has: for example for one item, and for several items."""
    yield command.name
    if command.bulk is not None:
        yield command.bulk_name
    if command.single is not None:
        yield command.single.name


def _inputs(inputs: Any) -> Iterator[tuple[str, Any]]:
    fields = dict(inputs.fields) | (dict(input_fields(inputs.type)) if inputs.items else {})
    for name, field in fields.items():
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from ((one.name, one.example) for one in input_fields(field.type).values())
        else:
            yield name, field.example


def _examples(filters: tuple[Filter[Any], ...]) -> Mapping[str, Any]:
    return {filter_.name: written(filter_.example) for filter_ in filters if filter_.resolve is None}


def written(example: Any) -> Any:
    """Returns an example as it is written in JSON: an enum as its value, and a date or time as text."""
    if isinstance(example, StrEnum):
        return example.value
    return example.isoformat() if isinstance(example, date | datetime) else example

"""Indexes the declarations that `app/catalog.py` lists: resources with all their links, listings and commands."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import ModuleType
from typing import Any

from sqlalchemy import Column
from sqlalchemy.sql import visitors

from app.access.permission import Can
from app.core.errors import Misuse
from app.resources.command import Command
from app.resources.declare import AddedLink, CannotCompile, Declaration, Resource, declaration
from app.resources.listing import Listing
from app.resources.members import ManyMember, Member, OneMember, ValueMember

ResourceType = type[Resource[Any]]


class Catalog:
    """All resources, listings, links and commands that the packages' `resource` modules declare."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self.modules = tuple(modules)
        self.resources: tuple[ResourceType, ...] = tuple(self._resources())
        self.listings: Mapping[str, Listing] = self._listings()
        self.commands: Mapping[str, Command] = self._by_name("COMMANDS")
        self._columns: dict[ResourceType, frozenset[tuple[str, str]]] = {}
        added: dict[ResourceType, dict[str, Member]] = {resource: {} for resource in self.resources}
        for module in self.modules:
            for link in getattr(module, "LINKS", ()):
                self._add(added, link)
        self._members = {resource: {**declaration(resource).members, **added[resource]} for resource in self.resources}

    def members(self, resource: ResourceType) -> Mapping[str, Member]:
        """Returns a resource's members (its fields, links and computed values) by name, in the order of declaration.

        Members that other packages add to the resource are included.
        """
        return self._members[resource]

    def member(self, resource: ResourceType, name: str) -> Member:
        """Returns the field, link or computed value of a resource that has this name.

        Raises `CannotCompile` for a name that was not declared.
        """
        member = self._members[resource].get(name)
        if member is None:
            raise CannotCompile(f"{resource.__name__} has no member {name}.")
        return member

    def columns(self, resource: ResourceType) -> frozenset[tuple[str, str]]:
        """Returns the columns from which the fields, links and values of a resource are read.

        They are pairs of table name and column name. A statement selects only these columns, because a role may not be
        allowed to read other columns of a table.
        """
        columns = self._columns.get(resource)
        if columns is None:
            columns = self._columns[resource] = frozenset(self._named_columns(resource))
        return columns

    def _named_columns(self, resource: ResourceType) -> Iterator[tuple[str, str]]:
        facts = declaration(resource)
        expressions: list[Any] = [facts.key, facts.about]
        for member in self._members[resource].values():
            for name in ("expression", "kind_expression", "condition", "array"):
                expressions.append(getattr(member, name, None))
            expressions += getattr(member, "keys", ())
        for expression in expressions:
            for element in () if expression is None else visitors.iterate(plain(expression)):
                if isinstance(element, Column):
                    yield str(element.table.name), str(element.name)

    @cached_property
    def by_kind(self) -> Mapping[str, ResourceType]:
        """Returns the resources that GraphQL's `node(id)` can read, keyed by the kind of their public id."""
        return {
            facts.kind: resource
            for resource in self.resources
            if (facts := declaration(resource)).kind is not None and facts.node
        }

    @cached_property
    def gets(self) -> Mapping[str, ResourceType]:
        """Returns the resources of which a caller can read a single row, keyed by a name such as `concern`.

        The name is GraphQL's field for the row, and REST's parameter in the path.
        """
        return {facts.get: resource for resource in self.resources if (facts := declaration(resource)).get is not None}

    def _resources(self) -> Iterator[ResourceType]:
        for module in self.modules:
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Resource) and value.__module__ == module.__name__:
                    yield value

    def _listings(self) -> dict[str, Listing]:
        """Returns the lists, keyed by name, each with its flags (filters for true or false).

        Flags that other packages add to a list are included.
        """
        listings: dict[str, Listing] = self._by_name("LISTINGS")
        for module in self.modules:
            for name, flag in getattr(module, "FLAGS", ()):
                listings[name] = replace(listings[name], flags=(*listings[name].flags, flag))
        return listings

    def _by_name(self, attribute: str) -> dict[str, Any]:
        declared: dict[str, Any] = {}
        for module in self.modules:
            for item in getattr(module, attribute, ()):
                if item.name in declared:
                    raise Misuse(f"{item.name} is declared twice in {attribute}.")
                declared[item.name] = item
        return declared

    def _add(self, added: dict[ResourceType, dict[str, Member]], link: AddedLink) -> None:
        members = added[link.source]
        if link.member.name in members or link.member.name in declaration(link.source).members:
            raise Misuse(f"{link.source.__name__}.{link.member.name} is declared twice.")
        members[link.member.name] = link.member


def plain(expression: Any) -> Any:
    """Returns the SQL expression of a mapped attribute such as `Concern.state`. Other expressions are unchanged."""
    return expression.__clause_element__() if hasattr(expression, "__clause_element__") else expression


def permissions_of(member: Member) -> tuple[Can, ...]:
    """Returns the permissions that a link or a computed value requires in addition to those of its resource.

    A plain field requires no additional permission, so the result is then empty.
    """
    if isinstance(member, OneMember | ManyMember):
        return tuple(dict.fromkeys((*declaration(member.target).requires, *member.requires)))
    return member.requires if isinstance(member, ValueMember) else ()


def facts(resource: ResourceType) -> Declaration:
    """Returns the options that a resource declares, such as its kind and its permissions."""
    return declaration(resource)

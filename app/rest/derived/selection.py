"""Converts `expand` and `fields` into a selection, and collects the permissions that the selection requires."""

from collections.abc import Iterable, Iterator
from typing import Any

from app.access.permission import MEANING, Can
from app.access.work import Work
from app.core.errors import Forbidden, Malformed, Violation
from app.resources.catalog import Catalog, permissions_of
from app.resources.members import ManyMember, OneMember
from app.resources.select import Pick, Picks, ResourceType
from app.rest.derived.shapes import Shapes

Tree = dict[str, Any]
"""Dotted names, arranged as a tree: `supports.area` is `{"supports": {"area": {}}}`."""
MAX_DEPTH = 2
"""The largest number of links that one name in `expand` may follow."""


def expandable(shapes: Shapes, resource: ResourceType, depth: int = MAX_DEPTH) -> Iterator[str]:
    """Yields the names that `expand` accepts, such as `supports` and `supports.area`."""
    for name, link in shapes.links(resource).items():
        yield name
        if depth > 1:
            yield from (f"{name}.{inner}" for inner in expandable(shapes, link.target, depth - 1))


def split(values: Any) -> Any:
    """Splits each text of a list at commas, so that `a,b` means the same as two parameters."""
    if not isinstance(values, list):
        return values
    return [part.strip() for value in values for part in str(value).split(",")]


def tree_of(names: Iterable[str]) -> Tree:
    """Converts dotted names to a tree: `a`, `b.c` and `b.d` become `{"a": {}, "b": {"c": {}, "d": {}}}`."""
    tree: Tree = {}
    for name in names:
        branch = tree
        for part in name.split("."):
            branch = branch.setdefault(part, {})
    return tree


def picks_of(shapes: Shapes, resource: ResourceType, expand: Tree, fields: Tree | None = None) -> Picks:
    """Returns the fields, links and values of a resource that a response shows.

    `expand` has the links that are shown as rows. If `fields` is given, the response is limited to these fields, links
    and values. The id is always shown, if the resource has one. Raises `Malformed` if `fields` has a name that the
    response does not have.
    """
    members, links = shapes.members(resource), shapes.links(resource)
    expanded = {shapes.key_of(resource, name): name for name in expand}
    shown_members: dict[str, Any] = {**members, **{key: links[name] for key, name in expanded.items()}}
    if fields is not None:
        _check_fields(fields, shown_members)
    picks: list[Pick] = []
    for name, member in shown_members.items():
        if fields is not None and name not in fields and name != "id":
            continue
        inner = (fields or {}).get(name) or None
        if name in expanded or (isinstance(member, OneMember | ManyMember) and member.inline):
            below = picks_of(shapes, member.target, expand.get(expanded.get(name, ""), {}), inner)
            picks.append(Pick(name, member.name, below))
        elif inner is not None:
            raise Malformed([unknown_field()])
        else:
            picks.append(Pick(name, member.name))
    return tuple(picks)


def permissions_of_picks(catalog: Catalog, resource: ResourceType, picks: Picks) -> Iterator[Can]:
    """Yields the permissions that the links and computed values of a selection require."""
    for pick in picks:
        if isinstance(pick, Pick):
            member = catalog.member(resource, pick.member)
            follows = isinstance(member, OneMember | ManyMember) and (pick.picks or pick.page)
            if follows or not isinstance(member, OneMember | ManyMember):
                yield from permissions_of(member)
            if isinstance(member, OneMember | ManyMember):
                yield from permissions_of_picks(catalog, member.target, pick.picks)


def require(work: Work, permissions: Iterable[Can]) -> None:
    """Raises `Forbidden` for the first permission that the caller lacks."""
    for can in permissions:
        if not work.principal.may(can):
            detail = f"This needs the permission {can.value}. {MEANING.get(can, '')}".strip()
            raise Forbidden(detail, code="permission.missing")


def _check_fields(fields: Tree, shown: Iterable[str]) -> None:
    if any(name not in shown and name != "id" for name in fields):
        raise Malformed([unknown_field()])


def unknown_field(place: int = 0) -> Violation:
    """Returns the violation of the name at this index in `fields`, which the response does not have."""
    detail = "The answer has no such field. A link has fields of its own only with `expand`."
    return Violation(f"/fields/{place}", "field.unknown", detail)

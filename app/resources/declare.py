"""Declares resources: the class `Resource`, and the links that other packages add to it.

A declaration is a class in the `resource.py` of its package. It uses no framework:

    class ConcernResource(Resource[Concern], kind="concern", requires=Can.READ_CONCERNS, about=Concern.student_id):
        \"\"\"A concern about one student in one area.\"\"\"

        state: ConcernState = choice(Concern.state, "The state of the concern.")
        student: One[StudentResource] = one(Concern.student_id, StudentResource, "The student.")

The options of the class, such as `requires`, are stored in `__declaration__`, and not as attributes of the class,
because a member could have the same name. mypy reports a wrong column or type. What mypy cannot check (a choice's
`| None`, a missing description) raises `Misuse` when the class is created.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

from sqlalchemy import inspect
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.core.errors import Misuse
from app.resources.members import FieldMember, ManyMember, Member, OneMember, ReferenceMember, ValueMember, named
from app.resources.values import parse_annotation

Model = TypeVar("Model")
REST, GRAPHQL = "rest", "graphql"


class CannotCompile(Misuse):
    """Raised if a selection names something that was not declared, which is a fault of our code."""


@dataclass(frozen=True)
class Join:
    """A table that is joined to a resource's own table, because it stores some of the resource's fields.

    With `outer`, rows without a match are kept.
    """

    model: Any
    condition: Any
    outer: bool = False


@dataclass(frozen=True)
class Declaration:
    """The options of a resource.

    * `kind` is the kind of its public id in `app.core.ids`, or None for rows without a public id.
    * `name` is the type's name in OpenAPI and in GraphQL.
    * `about` is the column of the student that a row is about, or None.
    * `discloses` is the name that the disclosure log uses for this kind of record.
    * `visible` is a condition that a row must satisfy to be shown.
    * `get` is the name under which one row is read (GraphQL's field, REST's path parameter), or None.
    * `locate` is a function that looks up the row for another name than its id, such as an external id.
    """

    model: Any
    name: str
    description: str
    kind: str | None
    key: Any
    requires: tuple[Can, ...]
    about: Any = None
    discloses: str | None = None
    visible: Any = None
    joins: tuple[Join, ...] = ()
    get: str | None = None
    get_requires: tuple[Can, ...] = ()
    locate: Any = None
    node: bool = True
    members: Mapping[str, Member] = field(default_factory=dict)


class Resource(Generic[Model]):
    """The base class of every resource. A resource is the public form of one kind of row, such as a concern."""

    __declaration__: ClassVar[Declaration]

    def __init_subclass__(
        cls,
        *,
        requires: Can | tuple[Can, ...],
        kind: str | None = None,
        name: str | None = None,
        key: Any = None,
        about: Any = None,
        discloses: str | None = None,
        visible: Any = None,
        joins: tuple[Join, ...] = (),
        get: str | None = None,
        get_requires: tuple[Can, ...] = (),
        locate: Any = None,
        node: bool | None = None,
    ) -> None:
        super().__init_subclass__()
        model = _model_of(cls)
        if not cls.__doc__:
            raise Misuse(f"{cls.__name__} has no description.")
        if about is not None and discloses is None and kind is None:
            raise Misuse(f"{cls.__name__} is about a student and does not say what the disclosure log calls it.")
        row_key = key if key is not None else model.id
        members: dict[str, Member] = {}
        if kind is not None:
            members["id"] = ReferenceMember("id", "The id, which never changes.", expression=row_key, kind=kind)
        members |= _members_of(cls)
        cls.__declaration__ = Declaration(
            model=model,
            name=name or cls.__name__.removesuffix("Resource"),
            description=" ".join(cls.__doc__.split()),
            kind=kind,
            key=row_key,
            requires=requires if isinstance(requires, tuple) else (requires,),
            about=about,
            discloses=None if about is None else discloses or kind,
            visible=visible,
            joins=joins,
            get=get,
            get_requires=get_requires,
            locate=locate,
            node=kind is not None if node is None else node,
            members=members,
        )


def declaration(resource: type[Resource[Any]]) -> Declaration:
    """Returns the options that a resource declares, such as its kind and its permissions."""
    return resource.__declaration__


def Link(  # it is spelled like a class because it is used as a declaration
    source: type[Resource[Any]],
    name: str,
    target: type[Resource[Any]],
    condition: Any,
    description: str,
    **more: Any,
) -> "AddedLink":
    """Declares a link that one package adds to a resource of another package. The link leads to any number of rows.

    `more` has other options of `ManyMember`.
    """
    return AddedLink(source, ManyMember(name, description, target=target, condition=condition, **more))


def OneLink(
    source: type[Resource[Any]],
    name: str,
    target: type[Resource[Any]],
    condition: Any,
    description: str,
    **more: Any,
) -> "AddedLink":
    """Declares a link that one package adds to a resource of another package. The link leads to at most one row.

    `more` has other options of `OneMember`.
    """
    member = OneMember(name, description, expression=None, target=target, condition=condition, nullable=True, **more)
    return AddedLink(source, member)


@dataclass(frozen=True)
class AddedLink:
    """A link that one package adds to a resource of another package."""

    source: type[Resource[Any]]
    member: Member


def _model_of(cls: type) -> Any:
    for base in getattr(cls, "__orig_bases__", ()):
        if get_origin(base) is Resource:
            return get_args(base)[0]
    raise Misuse(f"{cls.__name__} does not name its model: Resource[Model].")


def _members_of(cls: type) -> dict[str, Member]:
    hints = get_type_hints(cls)
    members: dict[str, Member] = {}
    for name, value in list(vars(cls).items()):
        if isinstance(value, Member):
            if name not in hints:
                raise Misuse(f"{cls.__name__}.{name} has no annotation.")
            members[name] = _typed(f"{cls.__name__}.{name}", named(value, name), hints[name], _model_of(cls))
    return members


def _typed(where: str, member: Member, hint: Any, model: Any) -> Member:
    """Returns a member (a field, link or value of a resource) with the type that its annotation states.

    Raises `Misuse` if the column contradicts the annotation. `where` is the name of the attribute in errors.
    """
    if not member.description:
        raise Misuse(f"{where} has no description.")
    type_, nullable, many = parse_annotation(hint)
    column_nullable = _is_nullable(getattr(member, "expression", None), model)
    has_kinds = isinstance(member, ReferenceMember) and bool(member.kinds)
    if column_nullable is not None and column_nullable != nullable and not has_kinds:
        raise Misuse(f"{where} is annotated {hint}, and its column is {'' if column_nullable else 'not '}nullable.")
    if isinstance(member, FieldMember):
        choices = type_ if isinstance(type_, type) and issubclass(type_, StrEnum) else None
        if choices is not None and any(choice_.name != choice_.value.upper() for choice_ in choices):
            raise Misuse(f"{where}: a choice's names are its values in upper case.")
        return replace(member, value_type=type_, nullable=nullable, many=many, choices=choices)
    if isinstance(member, OneMember | ReferenceMember):
        return replace(member, nullable=nullable)
    if isinstance(member, ValueMember):
        return replace(member, shape=type_, nullable=nullable, many=many)
    return member


def _is_nullable(expression: Any, model: Any) -> bool | None:
    """Returns whether a column of the model may be null.

    Returns None if the expression is not a column of the model.
    """
    if not isinstance(expression, InstrumentedAttribute) or expression.class_ is not model:
        return None
    column = inspect(expression.class_).columns.get(expression.key)
    return None if column is None else bool(column.nullable)

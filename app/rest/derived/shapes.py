"""Builds the response models of the contract from the declared resources.

The models describe the responses in the contract. Responses are not validated against the models.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ForwardRef, Literal, Optional, cast

from pydantic import Field, create_model

from app.core.errors import Misuse
from app.resources.catalog import Catalog
from app.resources.declare import declaration
from app.resources.members import FieldMember, ManyMember, Member, OneMember, ReferenceMember, ValueMember
from app.resources.select import ResourceType
from app.resources.values import (
    DayRanges,
    Figures,
    Item,
    JsonList,
    JsonObject,
    Numbers,
    WholeNumbers,
    is_json,
    is_value,
)
from app.rest.derived.stored import is_stored, stored_value
from app.rest.pages import Shape

REST = "rest"
JSON_TYPES: Mapping[Any, Any] = {
    JsonObject: dict[str, Any],
    Numbers: dict[str, float],
    WholeNumbers: dict[str, int],
    JsonList: list[Any],
    DayRanges: list[list[str]],
}
"""The Python type of each annotation of JSON whose contents are not declared."""
ITEMS = "The rows of this page, in the order of the list."
NEXT = "The cursor of the next page, for `after`; null on the last page."
TOTAL = "The number of rows on all pages, or `more` above 25,000; only with `include_total`."


class Shapes:
    """The response models of the resources that REST serves.

    `served` lists these resources; links to any other resource are left out.
    """

    def __init__(
        self, catalog: Catalog, served: Iterable[ResourceType], names: Mapping[ResourceType, str] | None = None
    ) -> None:
        self.catalog = catalog
        self.names = names or {}
        self.served = frozenset(served)
        self._values: dict[Any, type[Shape]] = {}
        self._models: dict[ResourceType, type[Shape]] = {}
        for resource in catalog.resources:
            if resource in self.served:
                self._models[resource] = self._model(resource)
        models: dict[str, Any] = {model.__name__: model for model in self._models.values()}
        for model in self._models.values():
            model.model_rebuild(_types_namespace=models)

    def of(self, resource: ResourceType) -> type[Shape]:
        """Returns the response model of one row of a resource."""
        return self._models[resource]

    def page_of(self, resource: ResourceType) -> type[Shape]:
        """Returns the response model of a page of a resource's rows."""
        model = self.of(resource)
        fields = {
            "items": (list[model], Field(description=ITEMS)),  # type: ignore[valid-type]  # made at run time
            "next": (str | None, Field(description=NEXT)),
            "total": (int | Literal["more"], _absent(TOTAL)),
        }
        return make_model(f"{model.__name__}Page", "A page of a list.", fields)

    def list_of(self, resource: ResourceType) -> type[Shape]:
        """Returns the response model of a list that has no pages."""
        model = self.of(resource)
        fields = {"items": (list[model], Field(description=ITEMS))}  # type: ignore[valid-type]  # made at run time
        return make_model(f"{model.__name__}List", "All rows of a list.", fields)

    def with_links(self, resource: ResourceType, names: tuple[str, ...]) -> type[Shape]:
        """Returns a response model that always shows the rows of these links, such as `SessionWithChanges`."""
        model, fields = self.of(resource), {}
        for name in names:
            link = self.links(resource)[name]
            fields[name] = (list[self.of(link.target)], Field(description=link.description))  # type: ignore[misc]  # made at run time
        title = f"{model.__name__}With{''.join(name.title() for name in names)}"
        return make_model(title, model.__doc__, fields, model)

    def members(self, resource: ResourceType) -> Mapping[str, Member]:
        """Returns the fields, links and values that REST shows without `expand`, keyed by their names in REST."""
        return {name: member for name, member in self._named(resource) if is_always_shown(member)}

    def links(self, resource: ResourceType) -> Mapping[str, OneMember | ManyMember]:
        """Returns the links that `expand` accepts, keyed by their names in REST."""
        return {
            name: member
            for name, member in self._named(resource)
            if isinstance(member, OneMember | ManyMember)
            and not member.inline
            and not (isinstance(member, ManyMember) and member.paged)
            and member.target in self.served
        }

    def key_of(self, resource: ResourceType, link: str) -> str:
        """Returns the name of the field in which `expand` shows the rows of a link.

        It is the link's name, extended by `_expanded` if the model already has a field with this name.
        """
        return f"{link}_expanded" if link in self.members(resource) else link

    def render(self, resource: ResourceType, row: Any) -> Shape:
        """Returns a stored row as its response model, for the response to a command.

        This works only if all fields, links and values that the response shows come from columns of the row's own
        table. Otherwise use `read_row`.
        """
        return self.of(resource).model_construct(**self.values_of(resource, row))

    def values_of(self, resource: ResourceType, row: Any) -> dict[str, Any]:
        """Returns the values of a stored row, keyed by the fields' names in REST."""
        return {name: stored_value(member, row) for name, member in self.members(resource).items()}

    def is_stored(self, resource: ResourceType) -> bool:
        """Returns whether the columns of a resource's own table have all values that a response shows.

        If not, `render` cannot be used.
        """
        return all(is_stored(member, resource) for member in self.members(resource).values())

    def _named(self, resource: ResourceType) -> list[tuple[str, Member]]:
        members = self.catalog.members(resource).values()
        return [(name, member) for member in members if (name := member.shown_as(REST)) is not None]

    def _model(self, resource: ResourceType) -> type[Shape]:
        facts = declaration(resource)
        fields: dict[str, Any] = {}
        links = self.links(resource)
        for name, member in self.members(resource).items():
            kind = self._type(member)
            examples = None if member.example is None else [member.example]
            fields[name] = (kind, Field(description=member.description, examples=examples))
        for name, link in links.items():
            # A row may be missing, or be outside of the caller's reach while its id is shown.
            is_one = isinstance(link, OneMember)
            kind = _wrapped(ForwardRef(self.name_of(link.target)), many=not is_one, nullable=is_one)
            fields[self.key_of(resource, name)] = (kind, _absent(f"{link.description} Only with `expand={name}`."))
        return make_model(self.name_of(resource), facts.description, fields)

    def name_of(self, resource: ResourceType) -> str:
        """Returns the name of a resource's model in the OpenAPI document."""
        return self.names.get(resource, declaration(resource).name)

    def values_model(self, value: Any, name: str, base: type[Shape] = Shape) -> type[Shape]:
        """Returns a response model called `name` with a field for each attribute that the class `value` declares.

        `value` is a subclass of `Value`. The model also has the fields of `base`, which can be the model of a row.
        """
        fields = self._value_fields(value)
        return make_model(name, " ".join((value.__doc__ or "").split()), fields, base)

    def _type(self, member: Member) -> Any:
        """Returns the Python type of a member in the response model.

        The member (a field, link or value) must always be shown.
        """
        kind: Any
        if isinstance(member, FieldMember):
            kind = member.value_type
            if listed := tuple(member.choices or member.values):
                kind = cast(Any, Literal)[tuple(str(each) for each in listed)]
            return _wrapped(kind, many=member.many, nullable=member.nullable)
        if isinstance(member, ReferenceMember):
            return _wrapped(str, many=member.many, nullable=member.nullable or bool(member.kinds))
        if isinstance(member, OneMember):
            if not member.inline:
                return _wrapped(str, many=False, nullable=member.nullable)
            return _wrapped(ForwardRef(self.name_of(member.target)), many=False, nullable=member.nullable)
        if isinstance(member, ManyMember):
            return _wrapped(ForwardRef(self.name_of(member.target)), many=True, nullable=False)
        if isinstance(member, ValueMember):
            return _wrapped(self._value(member.shape), many=member.many, nullable=member.nullable)
        raise Misuse(f"{member.name} has no type in REST.")

    def _value(self, shape: Any) -> Any:
        if shape is Figures:
            return dict[str, float]
        if is_json(shape):
            return JSON_TYPES[shape]
        if not is_value(shape):
            return shape
        if shape not in self._values:
            fields = self._value_fields(shape)
            name = shape.__name__.removesuffix("Value")
            doc = " ".join((shape.__doc__ or "").split())
            self._values[shape] = make_model(name, doc, fields)
        return self._values[shape]

    def _value_fields(self, shape: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for item in shape.__items__.values():
            if (name := item.shown_as(REST)) is not None:
                examples = None if item.example is None else [item.example]
                fields[name] = (self._item(item), Field(description=item.description, examples=examples))
        return fields

    def _item(self, item: Item) -> Any:
        kind = str if item.kind is not None else self._value(item.type)
        return _wrapped(kind, many=item.many, nullable=item.nullable)


def make_model(name: str, description: str | None, fields: Mapping[str, Any], base: type[Shape] = Shape) -> type[Shape]:
    """Returns a response model with this name, description and fields."""
    return cast(
        type[Shape], create_model(name, __base__=base, __doc__=description, __module__=__name__, **cast(Any, fields))
    )


def is_always_shown(member: Member) -> bool:
    """Returns whether REST shows a field, link or value (a member) even if the request does not name it in `expand`.

    * A member that is no link is always shown.
    * A link that is declared inline is always shown, with its rows.
    * Another link to one row is always shown if a column of the showing row has the id of the linked row. Only that id
      is shown.
    * All other links are shown only with `expand`.
    """
    if isinstance(member, OneMember):
        return member.inline or member.expression is not None
    return not isinstance(member, ManyMember) or member.inline


def _wrapped(kind: Any, *, many: bool, nullable: bool) -> Any:
    listed = list[kind] if many else kind
    return Optional[listed] if nullable else listed  # noqa: UP045  # a forward reference has no `|`


def _absent(description: str) -> Any:
    """Returns a field of a response model. A response contains this field only if the request asks for it."""
    return Field(
        default=None,
        description=description,
        exclude_if=lambda value: value is None,
        json_schema_extra=_without_default,
    )


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)

"""Generates the request bodies of the contract from the inputs that commands declare."""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from typing import Annotated, Any, Literal, Optional, cast, get_args, get_origin

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, create_model

from app.core.errors import Misuse
from app.core.inputs import REQUIRED, InputField, input_fields
from app.core.violations import partial_input
from app.requests.bulk import Malformed
from app.resources.command import Command
from app.rest.malformed import MalformedBody, errors_of
from app.rest.pages import NOT_NAMED, Changes, Input
from app.rest.problem import violation_of

BULK_OPTIONS: Mapping[str, InputField] = {
    "atomic": InputField(
        "atomic",
        bool,
        nullable=False,
        many=False,
        default=False,
        description="Whether nothing is written if one item is refused.",
        example=False,
    ),
    "dry_run": InputField(
        "dry_run",
        bool,
        nullable=False,
        many=False,
        default=False,
        description="Whether nothing is written: the results are those that the request would have, without rows.",
        example=False,
    ),
}
"""The options of every body with several items."""


class Bodies:
    """The request models of the commands. Commands whose bodies have the same name share one model."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[Any, type[Input]]] = {}

    def of(self, command: Command) -> type[Input] | None:
        """Returns the request model of a command's body, or None for a command without inputs."""
        inputs = command.inputs
        declared = {name: each for name, each in inputs.fields.items() if name not in command.path}
        if not declared:
            return None
        if command.body is not None:
            name, description = command.body.name, command.body.description
        elif inputs.whole is not None:
            name, description = inputs.type.__name__, _doc(inputs.type)
        else:
            raise Misuse(f"{command.name} takes inputs and has no `body`.")
        return self.model(name, description, declared, changes=inputs.changes is not None)

    def bulk_of(self, command: Command) -> type[Input]:
        """Returns the request model of the body with which a client sends several items to a command."""
        inputs, items = command.inputs, str(command.items)
        many = InputField(
            items,
            inputs.type,
            nullable=False,
            many=True,
            default=REQUIRED,
            description="Each item has its own result; an invalid item is refused without affecting the others.",
            most=command.bulk,
            least=1,
        )
        declared = {items: many, **(dict(inputs.fields) if inputs.items is not None else {}), **BULK_OPTIONS}
        if command.body is not None and inputs.items is not None:
            return self.model(command.body.name, command.body.description, declared, alone=items)
        return self.model(f"New{items.title().replace('_', '')}", f"Up to {command.bulk} items.", declared, alone=items)

    def nested(self, input_type: type) -> type[Input]:
        """Returns the request model for the dataclass of an input, also if the input is a field of another input."""
        return self.model(input_type.__name__, _doc(input_type), input_fields(input_type))

    def model(
        self,
        name: str,
        description: str,
        declared: Mapping[str, InputField],
        *,
        changes: bool = False,
        alone: str | None = None,
    ) -> type[Input]:
        """Returns a request model called `name` with the fields `declared`. The model is made at the first call.

        Raises `Misuse` if the name was used with other fields before. With `changes`, no field is required. `alone` is
        the name of a list whose items are validated one by one, so that a malformed item does not make the whole list
        malformed.
        """
        facts = (tuple(declared.values()), changes)
        cached = self._models.get(name)
        if cached is not None:
            if cached[0] != facts:
                raise Misuse(f"Two different request bodies are called {name}.")
            return cached[1]
        fields = {
            field_name: self._field(field, changes=changes, alone=field_name == alone)
            for field_name, field in declared.items()
        }
        base = Changes if changes else Input
        made = cast(
            type[Input],
            create_model(name, __base__=base, __doc__=description, __module__=__name__, **cast(Any, fields)),
        )
        self._models[name] = (facts, made)
        return made

    def _field(self, declared: InputField, *, changes: bool, alone: bool) -> tuple[Any, Any]:
        kind = self._type(declared, alone=alone)
        more: dict[str, Any] = {"description": declared.description or None}
        if declared.example is not None:
            more["examples"] = [declared.example]
        if changes:
            more["default"] = NOT_NAMED
        elif not declared.required:
            more["default"] = list(declared.default) if isinstance(declared.default, tuple) else declared.default
        if declared.nullable:
            kind = Optional[kind]  # noqa: UP045  # built at run time
        return kind, Field(**more, **_bounds(declared))

    def _type(self, declared: InputField, *, alone: bool) -> Any:
        kind: Any = declared.type
        if declared.choices is not None:
            kind = cast(Any, Literal)[declared.choices.values]
        elif declared.object is not None:
            kind = self.nested(declared.object)
        elif is_dataclass(kind):
            kind = self.nested(cast(type, kind))
        elif get_origin(kind) is tuple:
            kind = Annotated[list[get_args(kind)[0]], Field(max_length=2)]  # type: ignore[misc]  # made at run time
        elif get_origin(kind) is Mapping:
            kind = dict[get_args(kind)]  # type: ignore[misc]  # made at run time
        if not declared.many:
            return kind
        if declared.text is not None:
            kind = _bounded_text(declared)
        if alone:
            kind = Annotated[kind, WrapValidator(partial(_refuse_alone, kind, declared.type))]
        return list[kind]


def known_values_of(body: MalformedBody, inputs_of: Mapping[str, InputField]) -> dict[str, Any]:
    """Returns the valid values of a malformed body, converted into the types of the command's inputs."""
    return _known(body.model, body.errors, body.sent, inputs_of)


def _refuse_alone(model: type[Input], input_type: Any, item: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Returns one item of a list as an instance of its model, or as `Malformed` if the item is malformed.

    No error is raised for a malformed item, so that the other items are still accepted.
    """
    try:
        return validate(item)
    except ValidationError as error:
        errors = errors_of(error)
        violations = tuple(violation_of(each, each["loc"]) for each in errors)
        if not isinstance(item, dict):
            return Malformed(violations)
        readable_values = _known(model, errors, item, input_fields(input_type))
        return Malformed(violations, partial_input(input_type, readable_values))


def _known(
    model: type[Input],
    errors: Sequence[Mapping[str, Any]],
    sent: Mapping[str, Any],
    inputs_of: Mapping[str, InputField],
) -> dict[str, Any]:
    """Returns the valid values of an object that is partly invalid.

    This includes the valid values of nested objects.
    """
    values: dict[str, Any] = {}
    for name, declared in inputs_of.items():
        within = [{**each, "loc": each["loc"][1:]} for each in errors if each["loc"][:1] == (name,)]
        if name not in sent:
            if not within and not declared.required:
                values[name] = declared.default
        elif not within:
            values[name] = _value(_validated(model, name, sent[name]), declared)
        elif isinstance(sent[name], dict) and is_dataclass(declared.type) and not declared.many:
            kind, nested = cast(Any, declared.type), _model_of(model, name)
            values[name] = partial_input(kind, _known(nested, within, sent[name], input_fields(kind)))
    return values


def _model_of(model: type[Input], name: str) -> type[Input]:
    annotation = model.model_fields[name].annotation
    kinds = [annotation, *get_args(annotation)]
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Input))


def _validated(model: type[Input], name: str, sent: Any) -> Any:
    made = model.model_construct()
    model.__pydantic_validator__.validate_assignment(made, name, sent)
    return getattr(made, name)


def _bounded_text(declared: InputField) -> Any:
    assert declared.text is not None  # noqa: S101  # the caller has checked it
    return Annotated[str, Field(min_length=declared.text.min or None, max_length=declared.text.max)]


def _bounds(declared: InputField) -> dict[str, Any]:
    """Returns the bounds of a field as arguments of pydantic's `Field`."""
    if declared.most is not None:
        return {"min_length": declared.least or None, "max_length": declared.most}
    if declared.text is not None and not declared.many:
        return {"min_length": declared.text.min or None, "max_length": declared.text.max}
    if declared.between is not None:
        return {"ge": declared.between.min, "le": declared.between.max}
    return {}


def _doc(input_type: type) -> str:
    return " ".join((input_type.__doc__ or "").split())


def values_of(body: Input, inputs_of: Mapping[str, InputField], *, changes: bool = False) -> dict[str, Any]:
    """Returns the values of a body, converted into the types of the command's inputs.

    Inputs that are part of another input become dataclasses, and lists become tuples.
    """
    values: dict[str, Any] = {}
    for name, declared in inputs_of.items():
        if changes and name not in body.model_fields_set:
            continue
        values[name] = _value(getattr(body, name), declared)
    return values


def _value(value: Any, declared: InputField) -> Any:
    if declared.many and value is not None:
        return tuple(_single(item, declared) for item in value)
    return _single(value, declared)


def _single(value: Any, declared: InputField) -> Any:
    if isinstance(value, Input) and declared.object is not None:
        return value.model_dump(exclude_unset=True)
    if get_origin(declared.type) is tuple:
        return tuple(value)
    if isinstance(value, Input):
        kind = cast(Any, declared.type)
        return kind(**values_of(value, input_fields(kind)))
    return value

"""Keeps a request body with malformed values, so that its other values can still be checked.

A malformed value is, for example, a text in place of a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from app.core.errors import Violation
from app.rest.pages import Input
from app.rest.problem import violation_of


@dataclass(frozen=True, slots=True)
class MalformedBody:
    """A request body with malformed values, such as a text in place of a number.

    `errors` are the errors of these values, and `sent` has all values as the client sent them.
    """

    model: type[Input]
    errors: tuple[Mapping[str, Any], ...]
    sent: Mapping[str, Any]

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Returns the errors as violations."""
        return tuple(violation_of(each, each["loc"]) for each in self.errors)


def lenient(model: type[Input]) -> Any:
    """Returns the type annotation for a route's parameter that takes a body of this model, malformed or not.

    If an object is malformed, validation gives a `MalformedBody` instead of an error.
    """
    return Annotated[model, WrapValidator(partial(_keep, model))]


def errors_of(error: ValidationError) -> tuple[Mapping[str, Any], ...]:
    """Returns the errors of a validation, without the values that were sent."""
    return tuple(cast(Any, error.errors(include_url=False, include_context=True, include_input=False)))


def _keep(model: type[Input], sent: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(sent)
    except ValidationError as error:
        if not isinstance(sent, dict):
            raise
        return MalformedBody(model, errors_of(error), sent)

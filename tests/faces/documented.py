"""Compares responses with the contract; an undocumented response fails the test that received it."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import httpx
import jsonschema_rs
import orjson

from app.rest.contract.sharing import resolved
from tests.processes import REPOSITORY

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


class Undocumented(AssertionError):
    """Raised for an answer that the contract does not document."""


COMPONENTS = "urn:components"
"""Where the schemas of the answers find the components to which they refer."""


@dataclass
class Contract:
    """The OpenAPI contract of an app, with which responses are compared."""

    document: dict[str, Any]

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
        paths = sorted(self.document["paths"].items(), key=lambda item: "{" in item[0])
        return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods) for path, methods in paths]

    @cached_property
    def _validators(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        """Returns the components of the contract in the form that the validators share."""
        components = {"components": self.document["components"]}
        return jsonschema_rs.Registry([(COMPONENTS, components)], draft=jsonschema_rs.Draft202012)

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Returns the operation that a request calls, or None for a route outside of the contract."""
        methods = next((methods for pattern, methods in self._paths if pattern.fullmatch(path)), {})
        operation: dict[str, Any] | None = methods.get(method.lower())
        return operation

    def check(self, response: httpx.Response) -> None:
        """Raises `Undocumented` if the status, the media type or a member of a response is not in the contract."""
        operation = self.operation(response.request.method, response.request.url.path)
        if operation is None:
            return
        name, status = operation["operationId"], str(response.status_code)
        answer = operation["responses"].get(status)
        if answer is None:
            raise Undocumented(f"{name} answered {status}, which its contract does not document: {response.text[:500]}")
        answer = resolved(self.document, answer)
        content = answer.get("content", {})
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if response.content and media_type not in content:
            raise Undocumented(f"{name} answered {status} as {media_type}, documented are {sorted(content)}.")
        missing = [header for header in answer["headers"] if header in ALWAYS and header not in response.headers]
        if missing:
            raise Undocumented(f"{name} answered {status} without its documented headers {missing}.")
        # `fields` leaves out what the schema requires.
        is_whole = response.is_error or "fields" not in response.request.url.params
        if response.content and media_type.endswith("json") and is_whole:
            self._validate(f"{name} {status}", content[media_type]["schema"], response.content)

    def _validate(self, name: str, schema: dict[str, Any], body: bytes) -> None:
        if name not in self._validators:
            self._validators[name] = jsonschema_rs.Draft202012Validator(
                _from_components(schema), registry=self._registry
            )
        for error in self._validators[name].iter_errors(orjson.loads(body)):
            where = "/".join(str(part) for part in error.instance_path)
            raise Undocumented(f"{name} answered what its schema does not allow at /{where}: {error.message[:300]}")


def _from_components(schema: Any) -> Any:
    """Returns a copy of a schema in which every `$ref` leads to the components of the contract."""
    if isinstance(schema, dict):
        return {
            key: f"{COMPONENTS}{value}" if key == "$ref" else _from_components(value) for key, value in schema.items()
        }
    return [_from_components(one) for one in schema] if isinstance(schema, list) else schema


ALWAYS = {"Trace-Id", "WWW-Authenticate", "Location"}
"""Documented headers that every answer of the status has."""


@cache
def committed_contract() -> Contract:
    """Returns the committed contract, which other tests compare with the generated one."""
    return Contract(orjson.loads((REPOSITORY / "openapi" / "rest.json").read_bytes()))


async def check_documented(response: httpx.Response) -> None:
    """Raises `Undocumented` if the contract does not document a response.

    The tests' HTTP clients call this function for every response.
    """
    await response.aread()
    committed_contract().check(response)

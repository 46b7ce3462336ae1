"""Finds the changes of the API contracts that break a client.

A change breaks a client if a request that was accepted before may be refused, or if a field of an answer is removed or
changes its type. An added field of an answer breaks no client, because clients ignore fields that they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import build_schema, find_breaking_changes

Json = Mapping[str, Any]
UPPER = ("maxLength", "maxItems", "maximum", "exclusiveMaximum")
LOWER = ("minLength", "minItems", "minimum", "exclusiveMinimum")
TEXT_ONLY = ("pattern", "format")


def breaking_in_rest(old: Json, new: Json) -> list[str]:
    """Returns one sentence for each breaking change between two OpenAPI documents."""
    return sorted(set(_Comparison(old, new).documents()))


def breaking_in_graphql(old: str, new: str) -> list[str]:
    """Returns one sentence for each breaking change between two GraphQL schemas."""
    return sorted(change.description for change in find_breaking_changes(build_schema(old), build_schema(new)))


def breaking_in_events(old: Json, new: Json) -> list[str]:
    """Returns one sentence for each breaking change between two versions of the event schemas.

    Clients only read events, so a change breaks a client only if the client could fail to read a new event.
    """
    comparison = _Comparison(old, new)
    changes = []
    for name, schema in old["$defs"].items():
        if name not in new["$defs"]:
            changes.append(f"{name}: the event was removed.")
        else:
            changes += comparison.answer(name, schema, new["$defs"][name])
    return sorted(set(changes))


class _Comparison:
    """Compares two OpenAPI documents. A reference is resolved within the document that contains the reference."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._compared: set[tuple[str, int, int]] = set()

    def documents(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                name = f"{method.upper()} {path}"
                changed = self._new["paths"].get(path, {}).get(method)
                if changed is None:
                    yield f"{name}: the operation was removed."
                    continue
                if operation["operationId"] != changed["operationId"]:
                    yield f"{name}: its operationId is another one."
                yield from self._scopes(name, operation, changed)
                yield from self._parameters(name, operation, changed)
                yield from self._bodies(name, operation, changed)
                yield from self._answers(name, operation, changed)

    def _scopes(self, name: str, old: Json, new: Json) -> Iterator[str]:
        def scopes(operation: Json) -> set[str]:
            return {scope for requirement in operation.get("security", ()) for scope in requirement.get("oauth2", ())}

        yield from (f"{name}: it needs the scope {scope} now." for scope in sorted(scopes(new) - scopes(old)))

    def _parameters(self, name: str, old: Json, new: Json) -> Iterator[str]:
        def named(operation: Json, document: Json) -> dict[tuple[str, str], Json]:
            every = (_resolved(document, parameter) for parameter in operation.get("parameters", ()))
            return {(parameter["in"], parameter["name"]): parameter for parameter in every}

        before, after = named(old, self._old), named(new, self._new)
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{name}: the parameter {key[1]} is required now."
        for key, parameter in before.items():
            if key not in after:
                yield f"{name}: the parameter {key[1]} was removed."
            else:
                yield from self.request(f"{name} {key[1]}", parameter["schema"], after[key]["schema"])

    def _bodies(self, name: str, old: Json, new: Json) -> Iterator[str]:
        before, after = old.get("requestBody"), new.get("requestBody")
        if after is not None and after.get("required") and (before is None or not before.get("required")):
            yield f"{name}: a body is required now."
        for kind, content in (before or {}).get("content", {}).items():
            if after is None or kind not in after["content"]:
                yield f"{name}: a body of the type {kind} is no longer accepted."
            else:
                yield from self.request(f"{name} body", content["schema"], after["content"][kind]["schema"])

    def _answers(self, name: str, old: Json, new: Json) -> Iterator[str]:
        for status, answer in old["responses"].items():
            before = _resolved(self._old, answer)
            if status not in new["responses"]:
                if status < "3":
                    yield f"{name}: it no longer answers {status}."
                continue
            after = _resolved(self._new, new["responses"][status])
            for header in before.get("headers", {}):
                if header not in after.get("headers", {}):
                    yield f"{name} {status}: the header {header} was removed."
            for kind, content in before.get("content", {}).items():
                if kind not in after.get("content", {}):
                    yield f"{name} {status}: it no longer answers {kind}."
                else:
                    yield from self.answer(f"{name} {status}", content["schema"], after["content"][kind]["schema"])

    def request(self, at: str, old: Json, new: Json) -> Iterator[str]:
        """Compares two schemas of a request, and yields a sentence for each change that breaks clients.

        A change breaks clients if a request that is valid under `old` could be refused under `new`. Each sentence
        begins with `at`, the place of the schemas in the document.
        """
        accepted = _types(self._new, new)
        missing = _types(self._old, old) - accepted
        old, new, is_compared = self._resolve_pair("request", old, new)
        if is_compared:
            return
        if missing := missing - ({"integer"} if "number" in accepted else set()):
            yield f"{at}: it no longer accepts {', '.join(sorted(missing))}."
        before, after = _choices(old), _choices(new)
        if after is not None and (before is None or before - after):
            yield f"{at}: it no longer accepts {sorted(before - after) if before else 'every value'}."
        yield from self._bounds(at, old, new)
        for field in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield f"{at}/{field}: it is required now."
        is_closed = new.get("additionalProperties") is False
        for field, schema in old.get("properties", {}).items():
            if field in new.get("properties", {}):
                yield from self.request(f"{at}/{field}", schema, new["properties"][field])
            elif is_closed:
                yield f"{at}/{field}: it is no longer accepted."
        yield from self._inner(at, old, new, self.request)

    def answer(self, at: str, old: Json, new: Json) -> Iterator[str]:
        """Compares two schemas of an answer, and yields a sentence for each change that breaks clients.

        A change breaks clients if an answer under `new` could lack a field of `old`, or have a type that `old` does not
        allow. Each sentence begins with `at`, the place of the schemas in the document.
        """
        old_types = _types(self._old, old)
        added = _types(self._new, new) - old_types
        old, new, is_compared = self._resolve_pair("answer", old, new)
        if is_compared:
            return
        if added := added - ({"integer"} if "number" in old_types else set()):
            yield f"{at}: it can be {', '.join(sorted(added))} now."
        for field in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
            if field in new.get("properties", {}):
                yield f"{at}/{field}: it can be absent now."
        for field, schema in old.get("properties", {}).items():
            if field in new.get("properties", {}):
                yield from self.answer(f"{at}/{field}", schema, new["properties"][field])
            else:
                yield f"{at}/{field}: it was removed."
        yield from self._inner(at, old, new, self.answer)

    def _inner(self, at: str, old: Json, new: Json, compare: Any) -> Iterator[str]:
        for word in ("items", "additionalProperties"):
            if isinstance(old.get(word), Mapping) and isinstance(new.get(word), Mapping):
                yield from compare(f"{at}/*", old[word], new[word])

    def _bounds(self, at: str, old: Json, new: Json) -> Iterator[str]:
        for word in UPPER:
            if word in new and (word not in old or new[word] < old[word]):
                yield f"{at}: {word} is {new[word]} now."
        for word in LOWER:
            if word in new and (word not in old or new[word] > old[word]):
                yield f"{at}: {word} is {new[word]} now."
        for word in TEXT_ONLY:
            if word in new and new[word] != old.get(word):
                yield f"{at}: {word} is {new[word]} now."

    def _resolve_pair(self, direction: str, old: Json, new: Json) -> tuple[Json, Json, bool]:
        """Returns both schemas without references and without null, and whether this pair has been compared before.

        A pair that has been compared before must not be compared again. Schemas can refer to each other in circles, so
        a comparison might never end. Many paths can also lead to one schema, and its changes would be reported once for
        each path. `direction` is `request` or `answer`; the comparisons of the two are separate.
        """
        old, new = _single(self._old, old), _single(self._new, new)
        pair = (direction, id(old), id(new))
        is_compared = pair in self._compared
        if "properties" in old:
            self._compared.add(pair)
        return old, new, is_compared


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        target: Any = document
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _single(document: Json, schema: Json) -> Json:
    """Returns the schema to which a reference leads.

    If a schema allows one type or null, returns the schema of this type.
    """
    schema = _resolved(document, schema)
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    return _single(document, kinds[0]) if len(kinds) == 1 else schema


def _types(document: Json, schema: Json) -> set[str]:
    """Returns the JSON types that a schema allows."""
    schema = _resolved(document, schema)
    if inner := schema.get("anyOf") or schema.get("oneOf"):
        return set().union(*(_types(document, member) for member in inner))
    kind = schema.get("type", "any")
    return set(kind) if isinstance(kind, list) else {str(kind)}


def _choices(schema: Json) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None

"""Sends the examples of a contract as they are printed, with the ids that the contract says where to take."""

import re
from dataclasses import dataclass, field
from typing import Any

import httpx

NAMED = re.compile(r"`(\w+)` from (?:`(\w+)` in )?`GET ([^`]+)`")
CREATES = ("register_", "declare_", "keep_", "make_", "record_", "form_")
REMOVES = ("remove_", "end_", "pause_", "archive_", "retire_", "cancel_")
Lists = dict[str, tuple[str, str]]
"""By the name of a value: the member of a row, or the empty text for the row itself, and the address of the list."""
UNDOES = ("undo_",)


@dataclass
class Examples:
    """The examples of a contract, and a client with a token that sends them."""

    contract: dict[str, Any]
    client: httpx.Client
    lists: Lists = field(default_factory=dict)

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Returns the operations in an order in which each finds its rows: what creates first, what removes last."""
        every = [
            (method.upper(), path, operation)
            for path, methods in self.contract["paths"].items()
            for method, operation in methods.items()
        ]
        for _, _, operation in every:
            self.lists |= _lists_of(operation)
        return sorted(every, key=lambda each: _rank(each[2]["operationId"]))

    def send(self, method: str, path: str, operation: dict[str, Any]) -> httpx.Response | None:
        """Sends an operation's example and returns the answer, or None if the playground has no row that it needs."""
        own = _lists_of(operation)
        lists = self.lists | own
        parameters = operation.get("parameters", ())
        values = {one["name"]: one["example"] for one in parameters if one["in"] == "path" and "example" in one}
        values |= {name: self._value(name, lists) for name in re.findall(r"{(\w+)}", path) if name not in values}
        if None in values.values():
            return None
        has_version = any(parameter["name"] == "If-Match" for parameter in parameters)
        request: dict[str, Any] = {"headers": {"If-Match": "*"} if has_version else {}}
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == "application/json":
                request["json"] = self._with_ids(content["example"], own)
        return self.client.request(method, path.format(**values), **request)

    def _with_ids(self, example: Any, lists: Lists) -> Any:
        if isinstance(example, list):
            return [self._with_ids(item, lists) for item in example]
        if not isinstance(example, dict):
            return example
        return {name: self._replaced(name, value, lists) for name, value in example.items()}

    def _replaced(self, name: str, value: Any, lists: Lists) -> Any:
        """Returns the value of a field of an example, with an id, or a list of one id, where it has a list."""
        if name not in lists or name in ("measure", "name"):
            return self._with_ids(value, lists)
        if isinstance(value, str):
            return self._value(name, lists)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return [self._value(name, lists)]
        return self._with_ids(value, lists)

    def _value(self, name: str, lists: Lists) -> str | None:
        """Returns the id of the first row of the list from which the contract says to take it."""
        member, address = lists[name]
        for outer in re.findall(r"{(\w+)}", address):
            value = self._value(outer, lists)
            if value is None:
                return None
            address = address.replace(f"{{{outer}}}", value)
        page = self.client.get(address).raise_for_status().json()
        if name == "cursor":
            return str(page["next"])
        rows = page["items"]
        if member:
            values = [row[member] for row in rows if row[member] is not None]
            rows = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
        if not rows:
            return None
        return rows[0] if isinstance(rows[0], str) else str(rows[0]["name" if name == "name" else "id"])


def success_of(operation: dict[str, Any]) -> set[int]:
    """Returns the statuses of success that an operation documents."""
    return {int(status) for status in operation["responses"] if status.startswith("2")}


def _lists_of(operation: dict[str, Any]) -> Lists:
    return {name: (member, address) for name, member, address in NAMED.findall(operation["description"])}


def _rank(name: str) -> int:
    return 0 if name.startswith(CREATES) else 2 if name.startswith(REMOVES) else 3 if name.startswith(UNDOES) else 1

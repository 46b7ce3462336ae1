"""Sends the examples of a contract as they are printed, with ids from the lists that the contract names for this."""

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
WITHOUT_EXAMPLE = {
    "get_calendar": "a secret is shown only once, in the answer that creates its link",
    "agree_at_agenda_item": "its owner must be a member of the team of the item, which no list of ids shows yet",
    "stream_events": "a stream does not end",
    "token": "the credentials are its example; the client gets its token by it",
    "send_roster": "a file: `aimline sandbox export` writes one",
    "send_scores": "a file: `aimline sandbox scores` writes one",
}
"""Operations whose example is not sent, with the reason."""
NEEDS_STATE = {"approve_sync_run", "discard_sync_run", "rekey_sync_run", "undo_sync_run", "move_test_clock"}
"""Operations on a run that is held or applied last, or on a sandbox district: only for that is the example refused."""


@dataclass
class Examples:
    """The examples of a contract, and an authenticated client that sends them."""

    contract: dict[str, Any]
    client: httpx.Client
    lists: Lists = field(default_factory=dict)

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Returns the operations in an order in which each finds the rows that it needs.

        Operations that create rows come first, and operations that remove rows come last.
        """
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
        """Returns the value of a field of an example. Ids are replaced by ids from the lists that the contract names.

        If the field takes several ids, the value is a list of one id.
        """
        if name not in lists or name in ("measure", "name"):
            return self._with_ids(value, lists)
        if isinstance(value, str):
            return self._value(name, lists)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return [self._value(name, lists)]
        return self._with_ids(value, lists)

    def _value(self, name: str, lists: Lists) -> str | None:
        """Returns a value for the field `name` from the list that the contract names, or None if the list is empty.

        The value is usually the id of the first row. For a cursor, it is the cursor of the next page.
        """
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


def failed_examples(contract: dict[str, Any], client: httpx.Client) -> list[tuple[str, str, str]]:
    """Sends every example to a playground, and returns the operation, status and answer of each that fails.

    An example fails if its status is not a documented success, or if there is no row where the contract says to take an
    id.
    """
    examples, failed, sent = Examples(contract, client), [], 0
    for method, path, operation in examples.operations():
        name = operation["operationId"]
        if name in WITHOUT_EXAMPLE:
            continue
        answer = examples.send(method, path, operation)
        if answer is None:
            failed.append((name, "There is no row of which to take the id.", ""))
            continue
        expected = {409} if name in NEEDS_STATE else success_of(operation)
        sent += 1
        is_refused = b'"outcome":"refused"' in answer.content
        if answer.status_code not in expected or is_refused:
            failed.append((name, str(answer.status_code), answer.text[:300]))
    assert sent > 100
    return failed


def success_of(operation: dict[str, Any]) -> set[int]:
    """Returns the statuses of success that an operation documents."""
    return {int(status) for status in operation["responses"] if status.startswith("2")}


def _lists_of(operation: dict[str, Any]) -> Lists:
    return {name: (member, address) for name, member, address in NAMED.findall(operation["description"])}


def _rank(name: str) -> int:
    return 0 if name.startswith(CREATES) else 2 if name.startswith(REMOVES) else 3 if name.startswith(UNDOES) else 1

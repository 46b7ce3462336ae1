"""Tests the GraphQL documents that a process stores. They are few and short, and are parsed and validated once. Their
cost is computed for each request.
"""

from typing import Any

import pytest

from app.graphql import prepare
from app.graphql.limits import Limits
from app.graphql.prepare import Refused
from app.graphql.request import Operation
from app.graphql.schema import preparation
from app.graphql.weight import Scale

PAGE = "query ($first: Int) { students(first: $first) { edges { node { id concerns { id state } } } } }"


def test_a_document_is_parsed_and_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request with the same text is neither parsed nor validated. Its cost is computed from its own
    variables.
    """
    calls: list[str] = []

    def counted(name: str) -> Any:
        function = getattr(prepare, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return call

    for name in ("parse", "violations"):
        monkeypatch.setattr(prepare, name, counted(name))
    prepared = preparation(Limits())
    costs = [prepared.prepare(Operation(PAGE, {"first": first}, None), "POST").cost for first in (10, 20, 20)]
    assert costs == [60, 120, 120]
    assert calls == ["parse", "violations"]
    small = preparation(Limits(cost=100))
    small.prepare(Operation(PAGE, {"first": 10}, None), "POST")
    with pytest.raises(Refused):
        small.prepare(Operation(PAGE, {"first": 20}, None), "POST")


def test_a_request_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a document is computed once, and is reused for a request with a different `id`.

    It is computed again for a different page size, operation name or HTTP method. If a variable has a list of ids, it
    is computed for every request.
    """
    weighed: list[Any] = []
    weigh = Scale.weigh

    def counted(scale: Scale, operation: Any) -> Any:
        weighed.append(operation)
        return weigh(scale, operation)

    monkeypatch.setattr(Scale, "weigh", counted)
    prepared = preparation(Limits())
    text = """query A($id: ID!, $first: Int = 5, $ids: [ID!]! = []) {
        student(id: $id) { id } students(first: $first) { edges { node { id } } } nodes(ids: $ids) { id } }"""

    def measured(variables: dict[str, Any], method: str = "POST") -> int:
        weighed.clear()
        prepared.prepare(Operation(text, variables, "A"), method)
        return len(weighed)

    assert [measured({"id": name}) for name in ("stu_1", "stu_2", "stu_1")] == [1, 0, 0]
    assert [measured({"id": "stu_1", "first": first}) for first in (7, 8, None, "x", 7)] == [1, 1, 1, 0, 0]
    assert measured({"id": "stu_3"}, "GET") == 1
    assert [measured({"id": "stu_1", "ids": ["a"]}) for _ in range(2)] == [1, 1]


def test_an_invalid_document_is_not_kept() -> None:
    """An invalid document is not stored: it is refused again each time."""
    prepared = preparation(Limits())
    for _ in range(2):
        with pytest.raises(Refused):
            prepared.prepare(Operation("{ nothing }", None, None), "POST")


def test_few_and_short_documents_are_kept() -> None:
    """The cache of prepared GraphQL documents keeps only few and short ones, so that new texts cannot fill the
    memory.
    """
    prepared = preparation(Limits())
    for number in range(prepare.MAX_KEPT + 50):
        prepared.prepare(Operation(f"{{ a{number}: areas {{ code }} }}", None, None), "POST")
    long = "{ areas { code } }" + " " * prepare.MAX_KEPT_LENGTH
    prepared.prepare(Operation(long, None, None), "POST")
    assert len(prepared._valid) == prepare.MAX_KEPT
    assert long not in prepared._valid

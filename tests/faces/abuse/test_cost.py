"""Tests that the cost of a GraphQL document is the number of rows that it could return, however it is written."""

import random
from typing import Any

import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, execute_sync, get_named_type, parse

from app.graphql.limits import CEILING, Limits
from app.graphql.overlap import comparisons
from app.graphql.prepare import Preparation, Prepared, Refused
from app.graphql.request import Operation
from app.graphql.rows import BATCHES, LISTS, Rows
from app.graphql.schema import schema
from app.graphql.weight import Scale
from tests.faces.abuse.corpus import FULL_INTROSPECTION, doubling

CORE = schema._schema  # the library gives its own schema by no other name
PREPARATION = Preparation(CORE, Limits())


def prepared(query: str, variables: dict[str, Any] | None = None, name: str | None = None) -> Prepared:
    """Returns a prepared operation, with the usual limits."""
    return PREPARATION.prepare(Operation(query, variables, name), "POST")


def cost_of(query: str, variables: dict[str, Any] | None = None, name: str | None = None) -> int | None:
    """Returns the computed cost of a GraphQL operation, also if the operation is refused."""
    try:
        return prepared(query, variables, name).cost
    except Refused as refused:
        return refused.cost


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ __typename }", 0),
        ('{ student(id: "x") { id givenName } }', 1),
        ("{ students { edges { cursor } } }", 50),
        ("{ students(first: null) { edges { cursor } } }", 50),
        ("{ students(first: 20) { pageInfo { hasNextPage } } }", 20),
        ("{ students(first: 20) { edges { node { id } } pageInfo { hasNextPage } } }", 20),
        ("{ students(first: 20) { totalCount edges { node { id } } } }", 20 + 250),
        ("{ students(first: 20) { ...T edges { cursor } } } fragment T on StudentConnection { totalCount }", 20 + 250),
        ("{ students(first: 20) { edges { node { concerns { id } } } } }", 20 * (1 + 5)),
        ("{ students(first: 20) { edges { node { concerns { student { id } } } } } }", 20 * (1 + 5 * 2)),
        ("{ students(first: 99999999999999) { edges { cursor } } }", 200),
        ("{ students(first: -5) { edges { cursor } } }", 0),
        ("{ a: students(first: 3) { edges { cursor } } b: students(first: 4) { edges { cursor } } }", 7),
        ('{ support(id: "x") { verdicts(first: 9) { edges { node { id } } } } }', 10),
        ("{ ...A ...A } fragment A on Query { students(first: 3) { edges { cursor } } }", 6),
        ("{ ... on Query { ... { students(first: 3) { edges { cursor } } } } }", 3),
        ('{ node(id: "x") { ... on Student { concerns { id } } ... on Concern { student { id } } } }', 1 + 5 + 1),
        ("{ areas { id } measures { id } levels { id } }", 110),
        ('mutation { removeScore(input: {scoreId: "x", because: "y"}) { score { id } problems { code } } }', 7),
    ],
)
def test_rows_are_multiplied_along_the_document(query: str, cost: int) -> None:
    """The cost of a list is the number of its rows times the cost of one row with its nested rows.

    The number is `first`, or 50 if `first` is missing. For a list without pages, it is the number that the list's field
    declares.
    """
    assert cost_of(query) == cost


def test_the_number_of_rows_may_be_a_variable() -> None:
    """If the number of rows is a variable, its value or its default is counted. Without a valid number, 50 rows are
    counted.
    """
    query = "query($n: Int) { students(first: $n) { edges { cursor } } }"
    defaulted = "query($n: Int = 7) { students(first: $n) { edges { cursor } } }"
    assert cost_of(query, {"n": 9}) == cost_of(defaulted, {"n": 9}) == 9
    assert cost_of(query, {"n": 10**30}) == 200
    assert cost_of(query) == cost_of(query, {"n": None}) == cost_of(defaulted, {"n": None}) == 50
    assert cost_of(query, {"n": True}) == cost_of(query, {"n": "9"}) == 50
    assert cost_of(defaulted) == 7


def test_a_command_costs_by_what_it_is_given() -> None:
    """The cost of a command includes its items, whether they are a literal or a variable."""
    payload = "{ results { score { student { id } } } }"
    by_variable = f"mutation($i: RecordScoresInput!) {{ recordScores(input: $i) {payload} }}"
    by_list = f"mutation($s: [NewScoreInput!]!) {{ recordScores(input: {{scores: $s}}) {payload} }}"
    literal = f"mutation {{ recordScores(input: {{scores: [{'{a: 1} ' * 30}]}}) {payload} }}"
    scores = [{"student": "s", "measure": "m", "takenOn": "2026-01-05", "value": 1}] * 30
    assert cost_of(by_variable, {"i": {"scores": scores}}) == cost_of(by_list, {"s": scores}) == cost_of(literal)
    assert cost_of(literal) == 1 + 30 * 3


def test_only_the_named_operation_costs() -> None:
    """If a document has several operations, only the operation that runs is counted in the cost."""
    document = "query A { students(first: 2) { edges { cursor } } } query B { staff { edges { cursor } } }"
    assert (cost_of(document, name="A"), cost_of(document, name="B")) == (2, 50)


def test_a_cost_is_a_number_that_every_reader_takes() -> None:
    """If fragments double the cost 50 times, the stated cost is at most the largest integer that all JSON readers
    accept.
    """
    query = doubling(50, 2, "students { edges { node { id } } }")
    assert cost_of(query) == min(50 * 2**50, CEILING)


def test_the_lists_that_are_known_are_there() -> None:
    """Every field in the table of costs exists in the schema."""
    for name in (*LISTS, *BATCHES):
        type_name, field_name = name.split(".")
        type_ = CORE.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType), name
        inner = type_.fields[field_name].type
        inner = inner.of_type if isinstance(inner, GraphQLNonNull) else inner
        assert isinstance(inner, GraphQLList), name


def test_every_page_is_known_as_one() -> None:
    """Every field that takes `first` returns a connection, and its cost is counted like that of a page."""
    rows = Rows(CORE)
    taking = 0
    for type_ in (one for one in CORE.type_map.values() if isinstance(one, GraphQLObjectType)):
        for name, field in type_.fields.items():
            if "first" in getattr(field, "args", {}):
                node = parse(f"{{ {name}(first: 3) }}").definitions[0].selection_set.selections[0]  # type: ignore[attr-defined]  # an operation
                is_page = rows.of(type_, node, field, {})
                assert (is_page.times, is_page.own) == (3, 1), name
                taking += 1
    assert taking > 8


def test_introspection_returns_no_more_than_it_is_weighed_at() -> None:
    """The assumed cost of an introspection query is at least the number of values that it returns."""
    draw = random.Random(7)
    documents = [FULL_INTROSPECTION, *("{" + _introspecting(draw, "Query", 6) + "}" for _ in range(400))]
    passed = 0
    for query in documents:
        document = parse(query)
        operation = document.definitions[0]
        weight = Scale(CORE, Rows(CORE), document, {}, Limits(nesting=200)).weigh(operation)  # type: ignore[arg-type]  # an operation
        if weight.introspection > 200_000:
            continue
        result = execute_sync(CORE, document)
        assert result.errors is None
        # The means are fractions, whose sum may be a hair under the whole.
        assert _keys(result.data) <= weight.introspection + 0.01, query
        passed += 1
    assert passed > 100


def _introspecting(draw: random.Random, type_name: str, depth: int) -> str:
    """Returns a random selection of introspection fields, nested at most `depth` deep."""
    if type_name == "Query":
        root = draw.choice(("__schema", '__type(name: "Query")', '__type(name: "Support")', '__type(name: "Mutation")'))
        return f"{root} {{ {_introspecting(draw, '__Schema' if root == '__schema' else '__Type', depth)} }}"
    type_ = CORE.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    parts = []
    for name in draw.sample(sorted(type_.fields), min(len(type_.fields), draw.randint(1, 3))):
        inner = get_named_type(type_.fields[name].type)
        if not isinstance(inner, GraphQLObjectType):
            parts.append(name)
        elif depth:
            parts.append(f"{name} {{ {_introspecting(draw, inner.name, depth - 1)} }}")
    return " ".join(parts) or "__typename"


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def test_pairs_are_counted_as_the_fields_are_merged() -> None:
    """Each pair of fields with the same key in the response counts as one comparison, also in fragments and nested
    fields.
    """
    assert comparisons(parse("{ a b c }"), 99) == 0
    assert comparisons(parse("{ a a a }"), 99) == 3
    assert comparisons(parse("{ x: a x: a }"), 99) == 1
    assert comparisons(parse("{ a { b } a { b } }"), 99) == 2
    assert comparisons(parse("{ ...F a } fragment F on Query { a }"), 99) == 1
    assert comparisons(parse("{ ...F ...F } fragment F on Query { a }"), 99) == 0
    assert comparisons(parse("{" + " a" * 1000 + "}"), 99) > 99

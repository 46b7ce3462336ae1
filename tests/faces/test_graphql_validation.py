"""Tests that a document is validated as the library does it, and where in the text its errors are."""

from graphql import Source, build_schema, parse, validate
from hypothesis import given
from hypothesis import strategies as st

from app.graphql.validation import IndexedSource, violations

SCHEMA = build_schema("type Query { student(id: ID!): Student } type Student { id: ID! name(short: Boolean): String }")
PARTS = st.sampled_from(
    [
        *("student(id: $id) { id }", "student(id: $other) { name(short: $id) }", "student { id }", "nothing"),
        *('student(id: "1") { ...names }', 'student(id: "$") { nobody }', 'other: student(id: "2") { id }'),
    ]
)
HEADS = st.sampled_from(["{", "query ($id: ID!) {", "query ($id: ID!, $unused: Int) {"])
TAILS = st.sampled_from(["}", "} fragment names on Student { name(short: $id) }", "} fragment spare on Student { id }"])


@given(HEADS, st.lists(PARTS, min_size=1, max_size=6), TAILS)
def test_the_errors_are_those_of_the_library(head: str, parts: list[str], tail: str) -> None:
    """A document gets the same errors as from the GraphQL library, although the rules about variables run last."""
    document = parse(" ".join([head, *parts, tail]))
    expected = {(error.message, str(error.locations)) for error in validate(SCHEMA, document)}
    assert {(error.message, str(error.locations)) for error in violations(SCHEMA, document, 100)} == expected


def test_a_long_list_of_errors_ends_early() -> None:
    """If a document has more errors than the limit, the response has as many errors as the limit allows.

    An additional last error states that there are more.
    """
    unknown = " ".join(f"x{number}" for number in range(50))
    for text in (f"{{ {unknown} }}", f"query ($id: ID!) {{ {unknown} student(id: $other) {{ id }} }}"):
        errors = violations(SCHEMA, parse(text), 7)
        assert len(errors) == 8
        assert "Too many validation errors" in errors[-1].message
    at_the_limit = violations(SCHEMA, parse("query ($a: Int) { x0 x1 student(id: $other) { id } }"), 3)
    assert len(at_the_limit) == 4
    assert sum("Cannot query" in error.message for error in at_the_limit) == 2
    assert "Too many validation errors" in at_the_limit[-1].message


@given(st.text(st.sampled_from("ab\r\n\u2028"), max_size=30), st.integers(0, 31))
def test_a_position_has_the_line_and_column_of_the_library(text: str, position: int) -> None:
    """A position in a document has the same line and column as in the GraphQL library, for every kind of line end.

    Line ends are LF, CR and CR LF (GraphQL specification, 2.1.3).
    """
    assert IndexedSource(text).get_location(position) == Source(text).get_location(position)

"""The abuse corpus: GraphQL requests that are small to send and were, or could be, expensive to answer.

Each request has the code of its refusal, or none if it is valid. Further requests are generated from a seed.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphql import get_introspection_query

REFUSED = "request.malformed"
_ALIASES = "document.too_many_aliases"
_DEEP_VALUE = "document.value_too_deep"
_DIRECTIVES = "document.too_many_directives"
_LONG = "document.too_long"
_REPETITIVE = "document.too_repetitive"
FULL_INTROSPECTION = get_introspection_query(
    descriptions=True,
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)


@dataclass(frozen=True)
class Abuse:
    """A request of the corpus, with the code of its refusal."""

    name: str
    body: bytes
    code: str | None

    @classmethod
    def of(
        cls, name: str, query: str, code: str | None = None, variables: Any = None, operation: str | None = None
    ) -> "Abuse":
        """Returns an abuse request that sends this document."""
        body = {"query": query, "variables": variables, "operationName": operation}
        return cls(name, json.dumps(body).encode(), code)


def doubling(fragments: int, spreads: int = 2, selection: str = "__typename") -> str:
    """Returns a document with fragments, each of which contains the next one several times."""
    parts = [f"fragment F{n} on Query {{{f' ...F{n + 1}' * spreads}}}" for n in range(fragments)]
    return "{...F0} " + " ".join(parts) + f" fragment F{fragments} on Query {{{selection}}}"


def _merging(levels: int) -> str:
    inner = "id" if levels == 0 else " ".join(["student { concerns {" + _merging(levels - 1) + "} }"] * 2)
    return inner if levels < 5 else '{ concern(id: "x") {' + inner + "} }"


def _introspecting(levels: int) -> str:
    return "{ __schema { types {" + "fields { type {" * levels + "name" + "} }" * levels + "} } }"


def _record(items: str) -> str:
    return "mutation { recordScores(input: {" + items + "}) { problems { code } } }"


def corpus() -> list[Abuse]:
    """Returns every request of the abuse corpus. They are always the same."""
    return [*_fragments(), *_fields(), *_shapes(), *_values(), *_introspection(), *_bodies()]


def _fragments() -> Iterator[Abuse]:
    too_large = "document.too_large"
    for fragments in (24, 55):
        yield Abuse.of(f"doubling, {fragments} fragments", doubling(fragments), too_large)
    yield Abuse.of("doubling, 150 fragments", doubling(150), _LONG)
    yield Abuse.of("doubling of lists", doubling(20, 2, "students { edges { node { id } } }"), too_large)
    yield Abuse.of("tenfold, 40 fragments", doubling(40, 10), too_large)
    yield Abuse.of("chain of 200 fragments", doubling(200, 1), _LONG)
    cycle = "document.fragment_cycle"
    yield Abuse.of("a fragment that spreads itself", "{...A} fragment A on Query {...A}", cycle)
    ring = " ".join(f"fragment F{n} on Query {{...F{(n + 1) % 150}}}" for n in range(150))
    yield Abuse.of("a ring of 150 fragments", "{...F0} " + ring, cycle)
    unused = " ".join(f"fragment F{n} on Query {{a}}" for n in range(180))
    yield Abuse.of("180 fragments that nothing spreads", "{ areas { code } } " + unused, REFUSED)
    yield Abuse.of("400 spreads of nothing", "{" + " ".join(f"...F{n}" for n in range(400)) + "}", REFUSED)
    shared = "fragment F on Query {" + " areas { code }" * 15 + "}"
    operations = " ".join(f"query Q{n} {{...F}}" for n in range(200))
    yield Abuse.of("200 operations with one fragment", f"{operations} {shared}", too_large, operation="Q1")
    typed = "fragment T%d on Student {id givenName familyName middleName grades email identifier departed}"
    many = " ".join(typed % n for n in range(60))
    spread = '{ student(id: "x") {' + " ".join(f"...T{n}" for n in range(60)) + "} } "
    yield Abuse.of("60 fragments that select the same", spread + many, "document.too_repetitive")


def _fields() -> Iterator[Abuse]:
    for count in (400, 5000):
        query = "{" + " ".join(f"a{n}: areas {{ code }}" for n in range(count)) + "}"
        yield Abuse.of(f"{count} aliases", query, _LONG)
    yield Abuse.of("31 aliases", "{" + " ".join(f"a{n}: playbook {{ id }}" for n in range(31)) + "}", _ALIASES)
    yield Abuse.of("a field 330 times", "{" + " areas { code }" * 330 + "}", "cost.exceeded")
    yield Abuse.of("a leaf 700 times", '{ student(id: "x") {' + " id" * 700 + "} }", _REPETITIVE)
    yield Abuse.of("pairs of pairs of fields", _merging(5), "cost.exceeded")
    edges = "{ students(first: 1) {" + "edges { node { id } }" * 200 + "} }"
    yield Abuse.of("an edge 200 times", edges, _REPETITIVE)
    yield Abuse.of("1,490 unknown fields", "{" + " ".join(f"studen{n}" for n in range(1490)) + "}", REFUSED)
    yield Abuse.of("1,490 lines of unknown fields", "{" + "\n".join(f"studen{n}" for n in range(1490)) + "}", REFUSED)
    late = "{" + "\n" * 1990 + " " * 15000 + " ".join(f"s{n}" for n in range(1400)) + "}"
    yield Abuse.of("unknown fields after 1,990 lines", late, REFUSED)
    arguments = ", ".join(f"a{n}: 1" for n in range(300))
    yield Abuse.of("300 unknown arguments", "{ areas(" + arguments + ") { code } }", REFUSED)


def _shapes() -> Iterator[Abuse]:
    deep = "document.too_deep"
    loop = "concerns { student {" * 12 + "id" + "} }" * 12
    yield Abuse.of("students of concerns of students", '{ student(id: "x") {' + loop + "} }", deep)
    yield Abuse.of("190 levels", "{" + "a {" * 190 + "b" + "}" * 191, deep)
    yield Abuse.of("700 levels", "{" + "a {" * 700 + "b" + "}" * 701, _LONG)
    yield Abuse.of("190 inline fragments in one another", "{" + "... {" * 190 + "areas { code }" + "}" * 191, deep)
    yield Abuse.of("60 directives on one field", "{ areas" + " @include(if: true)" * 60 + " { code } }", _DIRECTIVES)
    field = "areas @include(if: true) @skip(if: false) { code }"
    yield Abuse.of("90 directives in all", "{" + field * 45 + "}", _DIRECTIVES)
    unknown = " ".join(f"areas @x{n} @y @z {{ code }}" for n in range(16))
    yield Abuse.of("unknown directives", "{" + unknown + "}", REFUSED)
    declared = "query(" + " ".join(f"$a{n}: Int" for n in range(350)) + ") { areas { code } }"
    yield Abuse.of("350 variables that nothing uses", declared, REFUSED)
    nested = "query($a: " + "[" * 150 + "Int" + "]" * 150 + ") { students(first: $a) { edges { cursor } } }"
    yield Abuse.of("a variable of lists of lists", nested, REFUSED)
    yield Abuse.of("comments", "{ areas { code } }" + "\n# x" * 1500, _LONG)
    yield Abuse.of("1 MB of spaces", "{ areas { code } }" + " " * 1_000_000, _LONG)
    yield Abuse.of("1 MB of fields", "{" + " areas { code }" * 70_000 + "}", _LONG)
    yield Abuse.of("32 kB of newlines", "{" + "\n" * 30_000 + "areas { code } }", _LONG)
    yield Abuse.of("a name of 32 kB", "{" + "a" * 32_000 + "}", REFUSED)


def _values() -> Iterator[Abuse]:
    yield Abuse.of("a literal of lists in lists", "{ student(id:" + "[" * 180 + "]" * 180 + ") { id } }", _DEEP_VALUE)
    yield Abuse.of("a list of 1,400 numbers", "{ student(id: [" + "1 " * 1400 + "]) { id } }", REFUSED)
    yield Abuse.of("450 unknown input fields", _record(" ".join(f"x{n}: 1" for n in range(450))), REFUSED)
    yield Abuse.of("280 incomplete scores", _record("scores: [" + "{measure: 1} " * 280 + "]"), REFUSED)
    big = " ".join(f"x{n}: 1" for n in range(25)) + " y: [" + "1 " * 1000 + "]"
    yield Abuse.of("unknown fields beside a long list", _record(big), REFUSED)
    yield Abuse.of("32 kB of escapes", '{ student(id: "' + "\\n" * 16_000 + '") { id } }', None)
    rows = "{ students(first: 200) { edges { node { concerns { supports { phases { id } } } } } } }"
    yield Abuse.of("200 students with everything", rows, "cost.exceeded")
    given = "query($n: Int) { students(first: $n) { edges { node { scores { id student { scores { id } } } } } } }"
    yield Abuse.of("as many by a variable", given, "cost.exceeded", {"n": 200})
    record = "mutation($i: RecordScoresInput!) { recordScores(input: $i) { problems { code } } }"
    yield Abuse.of("150,000 numbers in a variable", record, "body.too_many_values", {"i": [1] * 150_000})
    keys = {f"key{n}": n for n in range(100_000)}
    yield Abuse.of("100,000 keys in a variable", record, "body.too_many_keys", {"i": keys})
    yield Abuse.of(
        "5,900 wrong keys in a variable", record, "body.too_many_keys", {"i": dict(list(keys.items())[:5900])}
    )
    yield Abuse.of("2,900 wrong items in a variable", record, REFUSED, {"i": {"scores": [{"a": 1}] * 2900}})
    inner: Any = []
    for _ in range(200):
        inner = [inner]
    yield Abuse.of("lists in lists in a variable", record, "body.too_deep", {"i": inner})


def _introspection() -> Iterator[Abuse]:
    too_large = "introspection.too_large"
    yield Abuse.of("the introspection of tools", FULL_INTROSPECTION, None)
    for levels in (3, 8):
        yield Abuse.of(f"introspection, {levels} levels of fields", _introspecting(levels), too_large)
    several = (
        "{" + " ".join(f"a{n}: __schema {{ types {{ fields {{ name args {{ name }} }} }} }}" for n in range(29)) + "}"
    )
    yield Abuse.of("29 introspections", several, too_large)
    chain = '{ __type(name: "Query") {' + "ofType {" * 30 + "name" + "}" * 30 + "} }"
    yield Abuse.of("a chain of ofType", chain, "document.too_deep")


def _bodies() -> Iterator[Abuse]:
    good = '"query": "{ areas { code } }"'
    yield Abuse("JSON in JSON", b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body.too_deep")
    yield Abuse(
        "1 MB of operation name", f'{{{good}, "operationName": "{"x" * 1_000_000}"}}'.encode(), "operation.unknown"
    )
    yield Abuse(
        "2 MB of extensions", f'{{{good}, "extensions": {{"a": [{"1," * 900_000}1]}}}}'.encode(), "body.too_many_values"
    )
    yield Abuse("2 MB of braces", b'{"query": "' + b"\\\\u{0" * 330_000 + b'"}', _LONG)


def drawn(seed: int) -> Abuse:
    """Returns a random request of the GraphQL grammar, with fragments, repeated fields, aliases, lists and wrong
    names.
    """
    draw = random.Random(seed)
    fragments = draw.randint(0, 30)
    names = (
        "students",
        "concerns",
        "areas",
        "student",
        "edges",
        "node",
        "id",
        "code",
        "wrong",
        "__typename",
        "supports",
    )
    typed = ("Query", "Student", "StudentConnection", "Concern", "Support", "Nothing")

    def selection(depth: int) -> str:
        parts = []
        for _ in range(draw.choice((1, 1, 2, 2, 3, 7))):
            kind = draw.random()
            if kind < 0.3 and fragments:
                parts.append(f"...F{draw.randrange(fragments)}")
            elif kind < 0.4 and depth:
                parts.append(f"... on {draw.choice(typed)} {selection(depth - 1)}")
            else:
                alias = f"k{draw.randrange(40)}: " if draw.random() < 0.1 else ""
                first = f"(first: {draw.choice((1, 20, 200, 10**6))})" if draw.random() < 0.15 else ""
                directive = " @include(if: true)" if draw.random() < 0.05 else ""
                inner = selection(depth - 1) if depth and draw.random() < 0.4 else ""
                parts.append(f"{alias}{draw.choice(names)}{first}{directive}{inner}")
        return "{" + " ".join(parts) + "}"

    document = selection(draw.randint(0, 6))
    for number in range(fragments):
        # Half of the documents spread forward only, so that they double and have no cycle.
        fragment = selection(draw.randint(0, 2))
        if seed % 2:
            fragment = "{id " + " ".join(f"...F{draw.randint(number + 1, fragments)}" for _ in range(3)) + "}"
        document += f" fragment F{number} on {draw.choice(typed)} {fragment}"
    return Abuse.of(f"drawn {seed}", document, None)

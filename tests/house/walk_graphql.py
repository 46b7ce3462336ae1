"""Makes a GraphQL document and its variables for each query and mutation, from the schema and from example values."""

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_required_argument,
)

from app.catalog import CATALOG
from app.core.text import camel
from app.graphql.roots import LISTINGS
from app.graphql.schema import schema
from tests.house.full_district import FullDistrict
from tests.house.walk import Unwalkable
from tests.house.walk_knows import (
    DECLARED,
    FIELDS,
    LEFT_OUT,
    LISTED,
    OWN_FIELDS,
    OWN_REFERENCES,
    OWN_ROW,
    PATHS,
    REFERENCES,
    VALUES,
)

ROWS = (
    *("student", "person", "org", "class", "team", "concern", "support", "phase", "session", "score", "verdict"),
    "decision",
)
"""The rows for which `node` is called, by their names in the district, with their types."""
TYPES = {"student": "Student", "person": "Staff", "org": "School", "class": "Class"}
NAMED_OTHERWISE = {
    "school": "org",
    "actionItem": "action item",
    "sisSource": "source",
    "syncRun": "run",
    "webhookEndpoint": "endpoint",
    "screeningWindow": "window",
    "signalRule": "signal rule",
    "coreStall": "core stall",
    "attendanceRecord": "attendance",
    "incident": "incident",
    "agendaItem": "agenda item",
    "calendarLink": "calendar link",
    "area": "area ela.fluency",
    "playbookVersion": "playbook",
}
"""Single-row reads whose row has another name in the district."""
OF_ITS_CLIENT = {"webhookEndpoint", "calendarLink"}
"""Rows that only the client that made them can see."""
OPERATION = {
    "raiseConcern": "raise_concern",
    "amendScore": "amend_score",
    "removeScore": "remove_score",
    "decide": "decide",
    "previewPlaybook": "preview_playbook",
    "publishPlaybook": "publish_playbook",
    "declareBreak": "declare_break",
    "removeBreak": "remove_break",
    "makeMeasure": "make_measure",
    "amendMeasure": "amend_measure",
    "keepConsumer": "keep_consumer",
    "removeConsumer": "remove_consumer",
    "commitConsumer": "commit_consumer",
    "seekConsumer": "seek_consumer",
}
OPERATION |= {camel(name): name for name in CATALOG.commands}
OPERATION |= {camel(one.bulk_name): one.bulk_name for one in CATALOG.commands.values() if one.bulk is not None}
OF_CONSUMERS = {"keepConsumer", "commitConsumer", "seekConsumer", "removeConsumer"}
OF_EVERY_COMMAND = {"idempotencyKey", "version"}
VERSIONED = {"amendMeasure", "changeEndpoint", "changeSource"}
"""Mutations that require a version; 0 is any."""
IN_BULK = {camel(one.bulk_name): camel(str(one.items)) for one in CATALOG.commands.values() if one.bulk is not None}
"""Mutations that take a list and return a result for each entry."""
CORE: GraphQLSchema = schema._schema  # the library gives its own schema by no other name


def roots(kind: str) -> dict[str, GraphQLField]:
    """Returns the fields of the root type `Query` or `Mutation`, by name."""
    root = CORE.query_type if kind == "query" else CORE.mutation_type
    assert root is not None
    return dict(root.fields)


def reads(district: FullDistrict) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields a GraphQL document with its name and variables for every query, alone and with each of its arguments.

    A query of one row also selects nested rows. An unfiltered list also selects linked rows, and a filtered list does
    not.
    """
    for name, one in roots("query").items():
        needed = [arg for arg, spec in one.args.items() if is_required_argument(spec)]
        if name == "nodes":
            for row in ROWS:
                yield (
                    name,
                    document_of("query", name, one, ["ids"], TYPES.get(row, row.title())),
                    {"ids": [district.shown[row]]},
                )
            continue
        if "name" in needed:
            consumer = {"name": district.shown["consumer"]}
            yield name, document_of("query", name, one, ["name"], "", deep=2), consumer
            continue
        if "id" in needed:
            for row in ROWS if name == "node" else {name}:
                row = NAMED_OTHERWISE.get(row, row)
                for value in _spellings(district, row, external=name == "student"):
                    yield (
                        name,
                        document_of("query", name, one, ["id"], TYPES.get(row, row.title()), deep=2),
                        {"id": value},
                    )
            continue
        always = {arg: argument_values(name, arg, get_named_type(one.args[arg].type), district)[0] for arg in needed}
        yield name, document_of("query", name, one, needed, "", deep=1), always
        for arg, spec in one.args.items():
            if arg not in ("after", "before"):
                for value in argument_values(name, arg, get_named_type(spec.type), district):
                    yield name, document_of("query", name, one, list(always | {arg: ""}), ""), always | {arg: value}


def commands(
    mine: FullDistrict, theirs: FullDistrict | None, *, deep: int = 1
) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yields requests for every mutation: the mutation's name, the document, the variables, and the name of a field.

    Without `theirs`, the inputs are valid, and the last value is empty. With `theirs`, each request has one reference
    to a row of this other district, in the field with that name. `deep` is how many links the payload selects, each
    within the row of the previous link.
    """
    for name, one in roots("mutation").items():
        if name not in OPERATION or one.args.keys() - {"input", *OF_EVERY_COMMAND}:
            raise Unwalkable(f"The mutation {name} is not known to the walk: say in OPERATION what it is.")
        type_ = get_named_type(one.args["input"].type)
        assert isinstance(type_, GraphQLInputObjectType)
        terms = {"version": 0} if name in VERSIONED else {}
        document = document_of("mutation", name, one, ["input", *terms], "", deep=deep)
        if theirs is None:
            yield name, document, {"input": _input(name, type_, mine), **terms}, ""
            continue
        named = [(("name",), "consumer")] if name in OF_CONSUMERS - {"keepConsumer"} else []
        for (*within, field), row in [*named, *_references(type_)]:
            for value in _spellings(theirs, row, external=True):
                made = target = _input(name, type_, mine)
                owner = type_
                for step in within:
                    declared = owner.fields[step].type
                    owner = get_named_type(declared)
                    inner = target.setdefault(step, _of(declared, _input(name, owner, mine)))
                    target = inner[0] if isinstance(inner, list) else inner
                if name == "decide" and field == "student":
                    made = target = {"kind": "REFER"}
                target[field] = value
                yield name, document, {"input": made, **terms}, field


def document_of(kind: str, name: str, one: GraphQLField, args: list[str], shown: str, *, deep: int = 0) -> str:
    declared = ", ".join(f"${arg}: {one.args[arg].type}" for arg in args)
    passed = ", ".join(f"{arg}: ${arg}" for arg in args)
    selection = _selection(get_named_type(one.type), deep, shown)
    return f"{kind}{f'({declared})' if declared else ''} {{ {name}{f'({passed})' if passed else ''} {selection} }}"


def _selection(type_: GraphQLNamedType, deep: int, shown: str = "") -> str:
    """Returns a GraphQL selection of every scalar field of a type, and of linked types up to a depth."""
    if isinstance(type_, GraphQLInterfaceType):
        return f"{{ __typename id ... on {shown} {_selection(CORE.type_map[shown], deep)} }}"
    if not isinstance(type_, GraphQLObjectType):
        return ""
    parts = []
    for name, one in type_.fields.items():
        inner = get_named_type(one.type)
        if not isinstance(inner, GraphQLObjectType):
            parts += [name] if name != "totalCount" else []  # each adds to the cost
        elif type_.name.endswith(("Connection", "Edge", "Payload", "Result")):
            parts.append(f"{name} {_selection(inner, deep)}")
        elif deep > 0:
            page = "(first: 1)" if "first" in one.args else ""
            below = deep - 1 if not inner.name.endswith("Connection") else 0
            parts.append(f"{name}{page} {_selection(inner, below)}")
    return f"{{ {' '.join(parts) or '__typename'} }}"


def _spellings(district: FullDistrict, row: str, *, external: bool) -> list[str]:
    return [district.shown[row], *([district.alias[row]] if external and row in district.alias else [])]


def argument_values(field: str, arg: str, type_: GraphQLNamedType, district: FullDistrict) -> list[Any]:
    snake = _snake(arg).removesuffix("_id")
    row = {"staff": "person", "measure": "measure"}.get(snake) or (REFERENCES.get(snake) or REFERENCES.get(_snake(arg)))
    if (field, arg) == ("recap", "meetingId"):
        row = OWN_ROW["get_recap"]
    if isinstance(type_, GraphQLEnumType):
        return list(type_.values)
    if arg in ("first", "last"):
        return [100]
    if arg == "sort":
        return [sort.name for sort in LISTINGS[field].sorts]
    if arg == "familyName":
        return [f"Family{district.town.canary}"]
    if arg == "mine":
        return [False]  # the walks act for nobody
    if type_.name == "Boolean":
        return [True]
    if row is not None:
        return _spellings(district, row, external=True)
    if snake in VALUES:
        return [VALUES[snake]]
    raise Unwalkable(f"{field} takes {arg}: say in walk_knows what it is.")


def _input(mutation: str, type_: GraphQLInputObjectType, district: FullDistrict) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, one in type_.fields.items():
        snake, inner = _snake(name), get_named_type(one.type)
        if (OPERATION[mutation], snake) in LEFT_OUT:
            continue
        if isinstance(inner, GraphQLInputObjectType):
            made[name] = _of(one.type, _input(mutation, inner, district))
        elif (row := _subject(mutation, snake)) is not None:
            made[name] = district.shown[row]
        elif mutation in OF_CONSUMERS and snake == "name":
            made[name] = district.shown["consumer"]
        elif snake in LISTED and (OPERATION[mutation], snake) not in OWN_FIELDS:
            made[name] = [district.shown[LISTED[snake]]]
        elif snake in REFERENCES:
            made[name] = district.shown[OWN_REFERENCES.get((OPERATION[mutation], snake), REFERENCES[snake])]
        elif (OPERATION[mutation], snake) in OWN_FIELDS:
            value = OWN_FIELDS[OPERATION[mutation], snake]
            made[name] = value.upper() if isinstance(inner, GraphQLEnumType) else value
        elif snake in FIELDS:
            made[name] = FIELDS[snake].upper() if isinstance(inner, GraphQLEnumType) else FIELDS[snake]
        elif (OPERATION[mutation], snake) in DECLARED:
            example = DECLARED[OPERATION[mutation], snake]
            if isinstance(inner, GraphQLEnumType):
                example = example.upper() if isinstance(example, str) else [each.upper() for each in example]
            made[name] = example
        else:
            raise Unwalkable(f"{mutation} takes {name} in its input: say in walk_knows what it is.")
    return made


def _of(type_: object, value: Any) -> Any:
    """Returns a value in the form of a GraphQL type. If the type is a list, the result is a list with this value."""
    return [value] if "[" in str(type_) else value


def _subject(mutation: str, snake: str) -> str | None:
    """Returns the name of the row that a mutation changes, if the input field `snake` has the id of this row.

    Returns None for any other input field.
    """
    noun = snake.removesuffix("_id")
    if noun == snake or noun not in PATHS or snake in REFERENCES:
        return None
    return OWN_ROW.get(OPERATION[mutation], PATHS[noun])


def _references(type_: GraphQLInputObjectType) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields the path to each field of an input that refers to a row, and the name of that row."""
    for name, one in type_.fields.items():
        inner = get_named_type(one.type)
        if isinstance(inner, GraphQLInputObjectType):
            yield from (((name, *path), row) for path, row in _references(inner))
        elif _snake(name) in REFERENCES:
            yield (name,), REFERENCES[_snake(name)]
        elif name.endswith("Id") and _snake(name).removesuffix("_id") in PATHS:
            yield (name,), PATHS[_snake(name).removesuffix("_id")]


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)

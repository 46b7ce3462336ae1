"""Runs every GraphQL example that a newcomer can paste: of the documentation, the schema's descriptions and
GraphiQL.
"""

import json
import re
from collections.abc import Iterator

from fastapi import FastAPI
from graphql import OperationType, parse, validate
from graphql.language import OperationDefinitionNode

from app.core import ids
from app.core.clock import today_in
from app.graphql.schema import schema
from tests.faces.rest_town import caller
from tests.processes import REPOSITORY
from tests.rooms.test_loop import served
from tests.town import TIME_ZONE, Town

BLOCK = re.compile(r"^```graphql\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_JSON = re.compile(r'\'(\{"query": ".*?"\})\'')
IN_QUOTES = re.compile(r"[`']((?:#[^\n]*\n)?(?:(?:query|mutation|subscription)\b[^`'{]*)?\{\s+\w[^`']*\}\s*)[`']")
COST = re.compile(r"#.*= ([\d,]+)")
CORE = schema._schema  # the library gives its own schema by no other name
PAGES = ("README.md", "docs/*.md", "openapi/schema.graphql", "app/rest/graphiql/page.js")


def examples() -> Iterator[tuple[str, str]]:
    """Yields the name of each file with an example, and the example's document."""
    for pattern in PAGES:
        for path in sorted(REPOSITORY.glob(pattern)):
            text = path.read_text()
            for document in (
                *BLOCK.findall(text),
                *(json.loads(body)["query"] for body in IN_JSON.findall(text)),
                *IN_QUOTES.findall(BLOCK.sub("", text)),
            ):
                yield path.name, document


async def test_every_example_works(app: FastAPI, north: Town) -> None:
    """Each example of a query or mutation is answered without an error or a problem, and costs what its comment says.

    A subscription does not end, so it is only checked against the schema.
    """
    student, teacher = ids.format_id("student", north.students["amy"]), ids.format_id("person", north.staff["teacher"])
    support = ids.format_id("support", (await served(north, "amy")).id)
    values = {"student": student, "support": support, "teacher": teacher, "today": str(today_in(TIME_ZONE))}
    client, acting, files = caller(app, north), caller(app, north, act_for=teacher), set()
    for file, document in examples():
        parsed = parse(document)
        assert validate(CORE, parsed) == [], (file, document)
        (operation,) = (each for each in parsed.definitions if isinstance(each, OperationDefinitionNode))
        files.add(file)
        if operation.operation is OperationType.SUBSCRIPTION:
            continue
        named = {definition.variable.name.value for definition in operation.variable_definitions or ()}
        variables = {name: values[name] for name in named}
        asks = acting if "teacher" in named else client
        answer = (await asks.post("/graphql", {"query": document, "variables": variables})).json()
        assert "errors" not in answer, (file, document, answer)
        assert all(not (field or {}).get("problems") for field in answer["data"].values()), (file, answer)
        for cost in COST.findall(document):
            assert answer["extensions"]["cost"] == int(cost.replace(",", ""))
    assert files == {"README.md", "graphql.md", "page.js", "teams.md"}

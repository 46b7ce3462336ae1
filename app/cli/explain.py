"""Defines `aimline explain`, which shows how a read over REST or GraphQL would be carried out."""

import json
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import unit
from app.cli.operate import AsJson, District, as_operator
from app.resources.compile.explain import Explanation, explaining
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds `aimline explain` to the command line."""

    @app.command("explain")
    def explain(
        read: Annotated[
            str,
            typer.Argument(
                help="A path with its query, such as '/v1/concerns?state=raised', or a GraphQL query, such as "
                "'{ students { edges { node { id } } } }'."
            ),
        ],
        district: District,
        as_json: AsJson = False,
    ) -> None:
        """Shows how a read would be carried out: its SQL, PostgreSQL's plan, its scopes, and what it would disclose.

        For a GraphQL query, it also shows the cost. The read is not carried out. Rows are looked up only if the read
        names them by an external id or a code.
        """
        # Imported here, so that all other commands start without the web framework.
        from app.graphql.explain import run_document
        from app.rest.derived.explain import run_path
        from app.rest.resources import router

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[list[Explanation], int | None]:
            operator = system_principal(await find_district(engine, district), "operator")
            async with unit(engine, operator, settings.keyring, "explain") as work:
                cost = None
                with explaining() as explanations:
                    if read.startswith("/"):
                        await run_path(router, work, read)
                    else:
                        cost = await run_document(work, read)
            return explanations, cost

        explanations, cost = as_operator(run)
        if as_json:
            costs = {} if cost is None else {"cost": cost}
            print(json.dumps({**costs, "statements": [render(each) for each in explanations]}))
            return
        for each in explanations:
            record = render(each)
            print(each.sql, "", each.plan, "", sep="\n")
            print("Scopes:", ", ".join(record["scopes"]))
            print("Discloses:", ", ".join(record["discloses"]) or "no record about a student")
        if cost is not None:
            print("Cost:", cost)


def render(explanation: Explanation) -> dict[str, str | list[str]]:
    """Returns an explanation as JSON-compatible data."""
    return {
        "statement": explanation.sql,
        "plan": explanation.plan.splitlines(),
        "scopes": [can.value for can in explanation.requires],
        "discloses": list(explanation.discloses),
    }

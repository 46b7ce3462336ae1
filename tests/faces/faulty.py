"""Makes inserts into a table of one district fail with PostgreSQL's own errors, and calls both APIs meanwhile."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core.ids import format_id
from tests.faces.rest_town import caller
from tests.town import Town

MUTATION = "mutation ($input: RaiseConcernInput!) { raiseConcern(input: $input) { concern { id } problems { code } } }"
FACES = ("rest", "graphql")


@asynccontextmanager
async def failing(town: Town, sqlstate: str, times: int, table: str = "concern") -> AsyncIterator[None]:
    """Makes the first `times` inserts into a table of this district fail with a SQLSTATE.

    A database sequence counts the inserts, because a rollback does not reset it. The trigger that raises the error can
    be created only by the owner, in the database of this test run.
    """
    name = f"failing_{secrets.token_hex(4)}"
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        await owner.execute(
            f"""CREATE SEQUENCE app.{name};
            CREATE FUNCTION app.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = app, pg_temp AS $$
            BEGIN
                IF nextval('app.{name}') <= {times} THEN
                    RAISE EXCEPTION 'canary {town.canary}' USING ERRCODE = '{sqlstate}';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW
                WHEN (NEW.district_id = '{town.district_id}') EXECUTE FUNCTION app.{name}()"""
        )
        yield
    finally:
        await owner.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        await owner.execute(f"DROP FUNCTION IF EXISTS app.{name}()")
        await owner.execute(f"DROP SEQUENCE IF EXISTS app.{name}")
        await owner.close()


async def raise_concern(app: FastAPI, town: Town, face: str, description: str = "Quiet.") -> httpx.Response:
    """Raises a concern about amy through REST or GraphQL."""
    new = {
        "student": format_id("student", town.students["amy"]),
        "area": format_id("area", next(iter(town.areas.values()))),
        "description": description,
    }
    if face == "rest":
        return await caller(app, town).post("/v1/concerns", new)
    return await ask_graphql(app, town, MUTATION, {"input": new})


async def ask_graphql(app: FastAPI, town: Town, query: str, variables: object = None) -> httpx.Response:
    """Sends one operation to the product's own app."""
    headers = {"Accept": "application/graphql-response+json"}
    return await caller(app, town).ask(
        "POST", "/graphql", json={"query": query, "variables": variables}, headers=headers
    )


async def list_concerns(app: FastAPI, town: Town, face: str) -> httpx.Response:
    """Reads the concerns through REST or GraphQL."""
    if face == "rest":
        return await caller(app, town).get("/v1/concerns")
    return await ask_graphql(app, town, "{ concerns { edges { node { id } } } }")


def succeeded(answer: httpx.Response) -> bool:
    """Returns whether the answer means that the concern was raised."""
    if answer.status_code == 201:
        return True
    body = answer.json()
    return answer.status_code == 200 and "errors" not in body and body["data"]["raiseConcern"]["concern"] is not None


def code_of(answer: httpx.Response) -> str:
    """Returns the stable code of a refusal."""
    body = answer.json()
    return str(body["errors"][0]["extensions"]["code"] if "errors" in body else body["code"])


async def concerns_of(town: Town) -> list[str]:
    """Returns the descriptions of the district's concerns."""
    async with town.unit() as work:
        return await _descriptions(work)


@needs(Can.READ_CONCERNS)
async def _descriptions(work: Work) -> list[str]:
    rows = await work.db.scalars(select(Concern.description).where(Concern.district_id == work.district_id))
    return list(rows)

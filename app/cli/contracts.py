"""`aimline contracts`: writes what integrators read, or says where the committed files have drifted from it."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.core.crypto import generate_key
from app.events.catalogue import CATALOGUE
from app.events.render import schema
from app.settings import Settings

FOLDER = Path(__file__).parents[2] / "openapi"


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def contracts(
        check: Annotated[bool, typer.Option(help="Write nothing; exit 1 where a file has drifted.")] = False,
    ) -> None:
        """Writes openapi/rest.json, openapi/schema.graphql and openapi/events.json."""
        drifted = []
        for name, text in _contracts().items():
            path = FOLDER / name
            if check:
                if not path.exists() or path.read_text() != text:
                    drifted.append(f"openapi/{name}")
                continue
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"openapi/{name}")
        if drifted:
            print(f"Drifted: {', '.join(drifted)}. Run: aimline contracts", file=sys.stderr)
            raise typer.Exit(1)


def _contracts() -> dict[str, str]:
    from app.graphql.schema import sdl
    from app.main import build

    # The contract does not depend on any installation: no database is opened, and the key serves for nothing.
    os.environ.pop("AIMLINE_BASE_URL", None)
    app = build(Settings(database_url="postgresql://nobody@/none", key=generate_key("k")))
    return {
        "rest.json": _json(app.openapi()),
        "schema.graphql": sdl().rstrip() + "\n",
        "events.json": _json(event_schemas()),
    }


def event_schemas() -> dict[str, Any]:
    """A JSON Schema for the body of every type of event, as the feed and the webhooks send it."""
    schemas = {
        name if one is CATALOGUE[name] else f"{name}:{one.version}": schema(one)
        for name in sorted(CATALOGUE)
        for one in CATALOGUE[name].versions
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Aimline events",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in sorted(schemas)],
        "$defs": schemas,
    }


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"

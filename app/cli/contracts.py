"""Defines `aimline contracts`, which writes the API contracts, or checks that the committed files are current."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.cli.breaking import breaking_in_events, breaking_in_graphql, breaking_in_rest
from app.core.crypto import generate_key
from app.events.catalogue import CATALOGUE
from app.events.render import schema
from app.settings import Settings

FOLDER = Path(__file__).parents[2] / "openapi"
RELEASED = FOLDER / "released"


def add_to(app: typer.Typer) -> None:
    """Adds `aimline contracts` to the command line."""

    @app.command()
    def contracts(
        check: Annotated[
            bool, typer.Option(help="Write nothing; exit with 1 if a file is outdated, or breaks a released contract.")
        ] = False,
        release: Annotated[bool, typer.Option(help="Write the files to openapi/released as well.")] = False,
    ) -> None:
        """Writes openapi/rest.json, openapi/schema.graphql and openapi/events.json.

        For example: aimline contracts --check
        """
        outdated = []
        for name, text in _contracts().items():
            path = FOLDER / name
            if check:
                if not path.exists() or path.read_text() != text:
                    outdated.append(f"openapi/{name}")
                continue
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"openapi/{name}")
            if release:
                RELEASED.mkdir(exist_ok=True)
                (RELEASED / name).write_text(text)
                print(f"openapi/released/{name}")
        if outdated:
            print(f"Outdated: {', '.join(outdated)}. Run: aimline contracts", file=sys.stderr)
        breaking = breaking_changes(FOLDER) if check else []
        if breaking:
            print("\n".join(["These changes break clients; docs/compatibility.md:", *breaking]), file=sys.stderr)
        if outdated or breaking:
            raise typer.Exit(1)


def breaking_changes(folder: Path) -> list[str]:
    """Compares the contracts in a folder with the released contracts. Returns a sentence for each breaking change."""
    changes: list[str] = []
    for name, compare in COMPARISONS.items():
        released = RELEASED / name
        if released.exists():
            changes += [f"{name}: {change}" for change in compare(released.read_text(), (folder / name).read_text())]
    return changes


def _of_json(compare: Callable[[Any, Any], list[str]]) -> Callable[[str, str], list[str]]:
    return lambda old, new: compare(orjson.loads(old), orjson.loads(new))


COMPARISONS: dict[str, Callable[[str, str], list[str]]] = {
    "rest.json": _of_json(breaking_in_rest),
    "schema.graphql": breaking_in_graphql,
    "events.json": _of_json(breaking_in_events),
}
"""The functions that compare a contract with its released version, keyed by the contract's file name."""


def _contracts() -> dict[str, str]:
    from app.graphql.schema import sdl
    from app.main import build

    # The contract does not depend on an installation: no database is opened, and the key is not used.
    os.environ.pop("AIMLINE_BASE_URL", None)
    app = build(Settings(database_url="postgresql://nobody@/none", key=generate_key("k")))
    return {
        "rest.json": _json(app.openapi()),
        "schema.graphql": sdl().rstrip() + "\n",
        "events.json": _json(event_schemas()),
    }


def event_schemas() -> dict[str, Any]:
    """Returns one JSON Schema for the bodies of all event types, as the feed and the webhooks send them."""
    schemas = {
        name if version is CATALOGUE[name] else f"{name}:{version.version}": schema(version)
        for name in sorted(CATALOGUE)
        for version in CATALOGUE[name].versions
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Aimline events",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in sorted(schemas)],
        "$defs": schemas,
    }


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"

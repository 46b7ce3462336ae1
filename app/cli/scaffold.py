"""Defines `aimline scaffold`, which writes the files of a new resource type about students, for developers.

It writes a model, a migration, rules, a service, a resource and tests. It also adds the type to the tables in the code
that list all types: ids, permissions, events and their links, the catalogue and the REST paths. The endpoints of both
APIs follow from these tables.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli import scaffold_texts as texts

NOUN = re.compile(r"[a-z][a-z_]*[a-z]")
NEXT = """Next:
  describe the noun in app/{room}/{noun}, and name its columns in migrations/versions/{migration}
  ruff format . && ruff check --fix .
  aimline schema --write && aimline contracts
  add a row to tests/house/full_district.py, and its path parameter to tests/house/walk_knows.py"""


def add_to(app: typer.Typer) -> None:
    """Adds `aimline scaffold` to the command line."""

    @app.command("scaffold")
    def scaffold(
        noun: Annotated[str, typer.Argument(help="The singular, such as `referral` or `home_visit`.")],
        room: Annotated[str, typer.Option(help="The package that the noun belongs to, such as `concern`.")],
        plural: Annotated[str | None, typer.Option(help="The plural, if it does not end in `s`.")] = None,
        prefix: Annotated[str | None, typer.Option(help="The three letters before `_` in its ids.")] = None,
    ) -> None:
        """For developers: writes the files of a new resource type about students into the working directory."""
        try:
            files = write_noun(Path(), noun, room, plural or f"{noun}s", prefix or noun[:3])
        except ValueError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(2) from None
        print("\n".join(str(file) for file in files))
        print(NEXT.format(noun=noun, room=room, migration=files[4].name))


def write_noun(root: Path, noun: str, room: str, plural: str, prefix: str) -> list[Path]:
    """Writes the scaffold files for a new resource type under `root` and returns their paths.

    If the type cannot be added, raises `ValueError` before anything is written.
    """
    package = root / "app" / room / noun
    ids = (root / "app/core/ids.py").read_text()
    if not NOUN.fullmatch(noun) or not NOUN.fullmatch(plural):
        raise ValueError(f"{noun} is no noun: use small letters and underscores.")
    if not (root / "app" / room / "resource.py").exists():
        raise ValueError(f"app/{room} is no package with resources.")
    if package.exists() or f'"{noun}":' in ids:
        raise ValueError(f"There is a noun {noun} already.")
    if not re.fullmatch(r"[a-z]{3}", prefix) or f'"{prefix}"' in ids:
        raise ValueError(f"Choose other letters than {prefix} for --prefix: three that no other kind of id has.")
    before = max(path.name[:4] for path in (root / "migrations/versions").glob("[0-9]*.py"))
    names = _names(noun, room, plural, prefix, before)
    edits = {path: _edited(root / path, changes, names) for path, changes in EDITS.items()}
    written = {
        package / "models.py": texts.MODELS,
        package / "rules.py": texts.RULES,
        package / "service.py": texts.SERVICE,
        package / "resource.py": texts.RESOURCE,
        root / f"migrations/versions/{names['@revision']}_{plural}.py": texts.MIGRATION,
        root / f"tests/rooms/test_{plural}.py": texts.TEST,
        package / "__init__.py": f'"""Has the {names["@words"]}."""\n',
    }
    package.mkdir()
    for path, text in written.items():
        path.write_text(_filled(text, names))
    for name, text in edits.items():
        (root / name).write_text(text)
    return [*written, *(root / name for name in edits)]


def _names(noun: str, room: str, plural: str, prefix: str, before: str) -> dict[str, str]:
    camel = "".join(part.title() for part in plural.split("_"))
    return {
        "@revision": f"{int(before) + 1:04}",
        "@before": before,
        "@prefix": prefix,
        "@paths": plural.replace("_", "-"),
        "@fields": camel[0].lower() + camel[1:],
        "@words": plural.replace("_", " "),
        "@NOUNS": plural.upper(),
        "@nouns": plural,
        "@NOUN": noun.upper(),
        "@Noun": "".join(part.title() for part in noun.split("_")),
        "@noun": noun,
        "@room": room,
        "@scope": noun.replace("_", "-"),
    }


def _filled(text: str, names: dict[str, str]) -> str:
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return text


def _edited(path: Path, changes: tuple[tuple[str, str], ...], names: dict[str, str]) -> str:
    """Returns the text of a file with lines inserted. The file is not written.

    Each change is a pair: a line that the file has, and a line to insert before it. `names` replaces the placeholders
    in the inserted lines. Raises `ValueError` if the file lacks a line.
    """
    text = path.read_text()
    for anchor, line in changes:
        if anchor not in text:
            raise ValueError(f"{path} has no line {anchor.strip()!r} any more.")
        text = text.replace(anchor, _filled(line, names) + anchor, 1)
    return text


EDITS: dict[str, tuple[tuple[str, str], ...]] = {
    "app/core/ids.py": (('    "calibration": "cal",\n', '    "@noun": "@prefix",\n'),),
    "app/access/permission.py": (
        ("    READ_EVENTS =", '    READ_@NOUNS = "@scope:read"\n    RECORD_@NOUNS = "@scope:record"\n'),
        ("    Can.READ_EVENTS:", '    Can.READ_@NOUNS: "Read @words.",\n    Can.RECORD_@NOUNS: "Record @words.",\n'),
        ("        Can.READ_DECISIONS,\n    }", "        Can.READ_@NOUNS,\n"),
        ("    Can.RECORD_SESSIONS,\n    Can.RECORD_ATTENDANCE,\n", "    Can.RECORD_@NOUNS,\n"),
    ),
    "app/events/catalogue.py": (
        ("STUDENT_ENTERED =", '@NOUN_RECORDED = _type("@noun.recorded", "@noun", "@Noun: recorded.", "student")\n'),
        ("        STUDENT_ENTERED,", "        @NOUN_RECORDED,\n"),
    ),
    "app/events/render.py": (('    "run": "sync-runs",', '    "@noun": "@paths",\n'),),
    "app/catalog.py": (
        ("\nCATALOG =", "from app.@room.@noun import resource as @nouns\n"),
        ("    )\n)\n", "        @nouns,\n"),
    ),
    "app/rest/resources.py": (
        ("\nSERVED:", "from app.@room.@noun.resource import @NounResource\n"),
        (')\n"""The resources that REST shows', "    @NounResource,\n"),
        (')\n"""The lists, each', '    ("@nouns", "list_@nouns", "@rooms"),\n'),
        (')\n"""The reads of one row', '    (@NounResource, "@paths/{@noun}", "get_@noun", "@rooms"),\n'),
        ('}\n"""The tag for a part of a path', '    "@paths": "@rooms",\n'),
    ),
}
"""The lines to add for a new resource type: for each file, pairs of an anchor and the text to insert before it."""

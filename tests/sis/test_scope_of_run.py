"""Tests that one run from the command line can be restricted further than the settings of its source."""

from pathlib import Path

from app.sis.engine.review.scope import SourceScope
from tests.processes import aimline
from tests.sis.roster_zip import Export, ask, sync
from tests.sis.test_scope import make_source, people_in
from tests.town import Town


async def test_one_run_of_a_zip_can_be_restricted(north: Town, tmp_path: Path) -> None:
    """One run of `sync csv` can be restricted by `--schools` and `--exclude-users`. A later run without these options
    imports the other rows.

    An option without a value is refused, because the run would be wider than intended.
    """
    path, excluded = str(Export().write(tmp_path / "roster.zip")), tmp_path / "excluded.csv"
    excluded.write_text("s1\n")
    command = ("sync", "csv", path, "--district", north.slug, "--source", "csv")
    for options in (("--schools", " , "), ("--exclude-users", str(tmp_path / "gone"))):
        refused = aimline(north.settings, *command, *options)
        assert (refused.returncode, await people_in(north, "north")) == (2, 0), refused.stderr
    done = aimline(north.settings, *command, "--schools", "south", "--exclude-users", str(excluded))
    assert done.returncode == 0, done.stderr
    left_out = {row["sourcedId"] for row in Export().rows["users"] if "north" in row["orgSourcedIds"]} | {"s1"}
    kept = len(Export().rows["users"]) - len(left_out)
    assert (await people_in(north, "north"), await people_in(north, "south")) == (0, kept)
    unknown = aimline(north.settings, *command, "--schools", "suoth")
    assert (unknown.returncode, "suoth" in unknown.stdout) == (5, True)
    assert aimline(north.settings, *command).returncode == 0
    assert await people_in(north, "north") > 0


async def test_a_run_is_never_wider_than_the_settings(north: Town, tmp_path: Path) -> None:
    """A run cannot be wider than the settings: other schools are refused, and excluded users stay excluded."""
    path = tmp_path / "roster.zip"
    await make_source(north, path, schools=("south",), excluded_users=("s1",))
    beyond = await sync(north, Export(), tmp_path, scope=SourceScope(("north",)))
    assert (beyond.state, beyond.exit_code, "north" in beyond.sentence) == ("failed", 5, True)
    narrowed = await sync(north, Export(), tmp_path, scope=SourceScope(("south",), ("s3",)))
    assert narrowed.state == "applied"
    names = await ask(
        north,
        "SELECT sourced_id FROM external_id WHERE district_id = :district AND sourced_id IN ('s1', 's3', 's5', 's2')",
    )
    assert {name for (name,) in names} == {"s5"}

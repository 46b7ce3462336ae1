"""Tests `aimline doctor` as a process: it finds records whose schools are not their student's, and repairs them."""

import json
from typing import Any

from app.concern.service import NewConcern, raise_concern
from app.core import ids
from tests.processes import aimline
from tests.records.copies import rows_out_of_step
from tests.sis.roster_zip import ask
from tests.town import Town


async def plant(town: Town) -> None:
    """Creates a concern and assigns it, in the database, to a school that is not its student's."""
    async with town.unit() as work:
        await raise_concern(
            work, NewConcern(ids.format_id("student", town.students["amy"]), "math", "Counts on fingers.")
        )
    await ask(town, "UPDATE concern SET school_ids = :schools WHERE district_id = :district", schools=[town.schools[1]])


async def test_the_doctor_finds_and_repairs(north: Town) -> None:
    """`aimline doctor` exits with 3 while rows are in wrong schools, and counts them by table. `--repair` corrects
    them.
    """
    command, slug = ("doctor", "--district", north.slug), north.slug
    done = aimline(north.settings, *command)
    assert (done.returncode, done.stdout) == (0, f"{slug}: every record has its student's schools.\n")
    await plant(north)
    done = aimline(north.settings, *command, "--json")
    assert done.returncode == 3, done.stderr
    result = {"district": slug, "out_of_step": {"concern": 1}, "team_students_out_of_step": 0, "repaired": False}
    assert json.loads(done.stdout) == {"districts": [result]}
    done = aimline(north.settings, *command)
    assert (done.returncode, done.stdout) == (3, f"{slug}: concern: 1 with other schools than their student\n")
    done = aimline(north.settings, *command, "--repair")
    assert (done.returncode, done.stdout) == (
        0,
        f"{slug}: concern: 1 with other schools than their student, repaired\n",
    )
    assert await rows_out_of_step(north) == {}
    assert aimline(north.settings, *command, "--json").returncode == 0


async def test_without_a_district_the_doctor_checks_all(north: Town, south: Town) -> None:
    """Without a district, `aimline doctor` checks all districts, and lists those with and those without wrong rows."""
    await plant(south)

    def of_towns(text: str) -> dict[str, Any]:
        districts = json.loads(text)["districts"]
        return {one["district"]: one for one in districts if one["district"] in (north.slug, south.slug)}

    done = aimline(north.settings, "doctor", "--json")
    assert done.returncode == 3, done.stderr
    unrepaired = {"team_students_out_of_step": 0, "repaired": False}
    assert of_towns(done.stdout) == {
        north.slug: {"district": north.slug, "out_of_step": {}, **unrepaired},
        south.slug: {
            "district": south.slug,
            "out_of_step": {"concern": 1},
            "team_students_out_of_step": 0,
            "repaired": False,
        },
    }
    done = aimline(north.settings, "doctor", "--repair")
    assert done.returncode == 0, done.stderr
    assert f"{north.slug}: every record has its student's schools." in done.stdout.splitlines()
    assert f"{south.slug}: concern: 1 with other schools than their student, repaired" in done.stdout.splitlines()
    assert await rows_out_of_step(south) == {}


def test_a_district_that_does_not_exist_is_a_sentence(north: Town) -> None:
    """A misspelt district ends `aimline doctor` with a sentence, and not with the result that all is well."""
    done = aimline(north.settings, "doctor", "--district", "nowhere")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""

"""`aimline doctor` as a process: it finds records in another school than their student, and puts them right."""

import json

from app.concern.service import NewConcern, raise_concern
from app.core import ids
from tests.processes import aimline
from tests.records.copies import rows_out_of_step
from tests.sis.roster_zip import ask
from tests.town import Town


async def test_the_doctor_finds_and_repairs(north: Town) -> None:
    """Exit 3 and a count by table while something is out of step; with --repair it is put right, and exit 0 follows."""
    command = ("doctor", "--district", north.slug)
    done = aimline(north.settings, *command)
    assert (done.returncode, done.stdout) == (0, "Every record has its student's schools.\n")
    async with north.unit() as work:
        await raise_concern(
            work, NewConcern(ids.format_id("student", north.students["amy"]), "math", "Counts on fingers.")
        )
    await ask(
        north, "UPDATE concern SET school_ids = :schools WHERE district_id = :district", schools=[north.schools[1]]
    )
    done = aimline(north.settings, *command, "--json")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout) == {"out_of_step": {"concern": 1}, "repaired": False}
    done = aimline(north.settings, *command)
    assert (done.returncode, done.stdout) == (3, "concern: 1 with other schools than their student\n")
    done = aimline(north.settings, *command, "--repair")
    assert (done.returncode, done.stdout) == (0, "concern: 1 with other schools than their student, repaired\n")
    assert await rows_out_of_step(north) == {}
    assert aimline(north.settings, *command, "--json").returncode == 0

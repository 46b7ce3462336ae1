"""Tests that checks of input read no name that an earlier check may have left unbound, which would be answered with
500.
"""

import ast

from tests.house.unbound import find_unbound_reads, unbound_reads

PLANTED = """
async def plan(work, new):
    violations = Violations()
    first = None
    with violations:
        team = await locate_team(work, new.team)
        with violations:
            owner = await locate_owner(work, team.id)
    with violations:
        first = team.id
    if new.day:
        violations.add(check(owner))
    violations.add(team.id for team in new.teams)
    with violations:
        first = check(first)
    violations.refuse()
    return team, owner, first
"""


def test_no_check_reads_what_another_check_may_not_have_bound() -> None:
    """No name that is bound in a `with violations:` block is read after the block and before the violations are
    refused.
    """
    assert unbound_reads() == {}


def test_a_planted_read_is_found() -> None:
    """A planted read is found in a following block and between blocks. Reads elsewhere are not reported."""
    assert list(find_unbound_reads(ast.parse(PLANTED))) == [("team", 10), ("owner", 12)]

"""Turns the policies and grants of a dump into those of another server, where the roles may have other names.

Reads only what pg_restore itself writes: one statement for each policy and grant.
"""

import re
from collections.abc import Mapping

from app.cli.backup.contents import quoted
from app.core.errors import AimlineError

NAME = r'"(?:[^"]|"")+"|[\w$]+'
POLICY = re.compile(
    rf"^(CREATE POLICY (?:{NAME}) ON (?:{NAME})(?:\.(?:{NAME}))?(?: AS RESTRICTIVE)?(?: FOR \w+)? TO )"
    rf"((?:{NAME})(?:, (?:{NAME}))*)(?= USING | WITH CHECK |;)",
    re.MULTILINE,
)
PRIVILEGE = re.compile(rf"^((?:GRANT|REVOKE) .+ (?:TO|FROM) )({NAME})((?: WITH GRANT OPTION)?;)$", re.MULTILINE)
STATEMENT = re.compile(r"^(?:GRANT|REVOKE|CREATE POLICY|ALTER DEFAULT PRIVILEGES) .*?;$", re.MULTILINE | re.DOTALL)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def policies_for(script: str, roles: Mapping[str, str]) -> str:
    """Returns the policies of a script for these roles, by the names that they had.

    Raises `AimlineError` for a policy of a role that Aimline does not know: it would have to be made by hand.
    """

    def rename(found: re.Match[str]) -> str:
        names = [_unquoted(name) for name in re.findall(NAME, found[2])]
        strangers = [name for name in names if name not in roles]
        if strangers:
            raise AimlineError(f"The backup has a policy for the role {strangers[0]!r}, which is not Aimline's.")
        return found[1] + ", ".join(quoted(roles[name]) for name in names)

    statements = [one for one in STATEMENT.findall(script) if one.startswith("CREATE POLICY")]
    return "\n".join(POLICY.sub(rename, one) for one in statements)


def grants_for(script: str, roles: Mapping[str, str]) -> tuple[str, list[str]]:
    """Returns the grants of a script for these roles, and the names of other roles, whose grants are left out."""
    left_out: set[str] = set()
    kept = []
    for statement in STATEMENT.findall(script):
        found = PRIVILEGE.match(statement)
        if found is None:
            continue
        name = _unquoted(found[2])
        if found[2] == "PUBLIC":
            kept.append(statement)
        elif name in roles:
            kept.append(f"{found[1]}{quoted(roles[name])}{found[3]}")
        else:
            left_out.add(name)
    return "\n".join(kept), sorted(left_out)

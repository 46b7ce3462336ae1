"""Rewrites the policies and grants of a dump for a server on which the roles have other names.

It parses only what pg_restore writes: one statement for each policy and grant.
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
    """Returns the CREATE POLICY statements in a script that pg_restore wrote, with the roles renamed by this mapping.

    Raises `AimlineError` for a policy of a role that is not Aimline's, because such a policy would have to be created
    by hand.
    """

    def rename(match: re.Match[str]) -> str:
        names = [_unquoted(name) for name in re.findall(NAME, match[2])]
        unknown_roles = [name for name in names if name not in roles]
        if unknown_roles:
            raise AimlineError(f"The backup has a policy for the role {unknown_roles[0]!r}, which is not Aimline's.")
        return match[1] + ", ".join(quoted(roles[name]) for name in names)

    statements = [statement for statement in STATEMENT.findall(script) if statement.startswith("CREATE POLICY")]
    return "\n".join(POLICY.sub(rename, statement) for statement in statements)


def grants_for(script: str, roles: Mapping[str, str]) -> tuple[str, list[str]]:
    """Returns the grants in a script of pg_restore, with the roles renamed, and the names of roles that lose grants.

    Only grants to Aimline's roles and to PUBLIC are returned. Grants to any other role are left out, because the role
    belongs to other software.
    """
    left_out: set[str] = set()
    grants = []
    for statement in STATEMENT.findall(script):
        match = PRIVILEGE.match(statement)
        if match is None:
            continue
        name = _unquoted(match[2])
        if match[2] == "PUBLIC":
            grants.append(statement)
        elif name in roles:
            grants.append(f"{match[1]}{quoted(roles[name])}{match[3]}")
        else:
            left_out.add(name)
    return "\n".join(grants), sorted(left_out)

"""Builds a small OneRoster CSV delivery (1.1 or 1.2) with a gradebook.

A test can change its rows. Each file can have all rows (bulk) or only changed ones (delta).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from app.sis.oneroster_csv.files import FILES, expected_columns
from tests.sis.roster_zip import Export, Row

STAMP = "2026-11-20T06:00:00.000Z"
ITEMS, GRADED = ("quiz", "essay"), 4
COLUMNS_OF_USERS_1_1 = ("role", "orgSourcedIds")


def _gradebook() -> dict[str, list[Row]]:
    """Returns two line items for each of two classes, and results of the first students."""
    return {
        "categories": [_row("tests", title="Tests"), _row("home", title="Homework")],
        "lineItems": [
            _row(
                f"{item}-{school}",
                title=f"{item} {school}",
                classSourcedId=f"class-{school}",
                categorySourcedId="tests",
                assignDate="2026-09-01",
                dueDate="2026-09-08T15:00:00-05:00",
                resultValueMin="0",
                resultValueMax="100",
            )
            for item in ITEMS
            for school in ("north", "south")
        ],
        "results": [
            _row(
                f"r-{item}-s{n}",
                lineItemSourcedId=f"{item}-{('north', 'south')[n % 2]}",
                studentSourcedId=f"s{n}",
                scoreStatus="fully graded",
                score=str(70 + n),
                scoreDate="2026-09-09",
                comment="",
            )
            for item in ITEMS
            for n in range(GRADED)
        ],
    }


def _row(sourced_id: str, **cells: str) -> Row:
    return {"sourcedId": sourced_id, **cells}


@dataclass
class Delivered(Export):
    """A delivery with the roster of `Export` and a gradebook. A delta of it has only the rows that a test adds."""

    files: ClassVar[Iterable[str]] = FILES
    more: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that a file has in addition to those of its version."""

    def __post_init__(self) -> None:
        self.rows |= _gradebook()
        if self.version == "1.2":
            self._to_1_2()

    def _to_1_2(self) -> None:
        for item in self.rows["lineItems"]:
            item["academicSessionSourcedId"] = "fall"
            item["schoolSourcedId"] = item["classSourcedId"].removeprefix("class-")
        self.rows["roles"] = []
        for user in self.rows["users"]:
            role, orgs = (user.pop(column) for column in COLUMNS_OF_USERS_1_1)
            self.rows["roles"] += [self.role(f"ro-{user['sourcedId']}", user["sourcedId"], role, orgs)]

    @staticmethod
    def role(sourced_id: str, user: str, role: str, org: str, role_type: str = "primary", **cells: str) -> Row:
        """Returns a row of roles.csv."""
        return _row(sourced_id, userSourcedId=user, role=role, orgSourcedId=org, roleType=role_type, **cells)

    def delta(self, **rows: list[Row]) -> "Delivered":
        """Returns a delta delivery that has only these files. Each row is marked as changed just now, unless it says
        otherwise.
        """
        made = Delivered(version=self.version)
        made.rows = {
            name: [{"status": "active", "dateLastModified": STAMP} | row for row in of] for name, of in rows.items()
        }
        made.modes = dict.fromkeys(rows, "delta")
        return made

    def columns(self, name: str) -> list[str]:
        """Returns the columns of a file: those of the version, and additional ones."""
        return [*expected_columns(FILES[name], self.version), *self.more.get(name, ())]

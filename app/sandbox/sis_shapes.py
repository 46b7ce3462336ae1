"""Applies the quirks (deliberate deviations) that change the form of rows: ids, references, booleans, grades, dates."""

from typing import Any

from app.sandbox.school import grade_title
from app.sandbox.sis_json import Json
from app.sandbox.sis_quirks import BOOLEANS, Quirks

NEW_KEY, NEW_YEAR = "u2-", "next-"
ROLLED = {"academicSession", "class", "course", "enrollment", "lineItem", "result", "scoreScale"}
FLAGS = {
    *("enabledUser", "primary", "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican"),
    *("nativeHawaiianOrOtherPacificIslander", "white", "demographicRaceTwoOrMoreRaces", "hispanicOrLatinoEthnicity"),
}
_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")
ORDINALS = dict(enumerate((*_ORDINALS, "Eleventh", "Twelfth"), 1))


class Shapes:
    """Changes rows in place, so that the sandbox SIS deviates from OneRoster as its active quirks require."""

    def __init__(self, quirks: Quirks, origin: str, refreshed: str) -> None:
        self.quirks, self.origin, self.refreshed = quirks, origin, refreshed
        names = "modified- status- flat- relative-hrefs rekeyed rollover booleans grades- periods- no-titles few- pass"
        self.needed = any(name.startswith(tuple(names.split())) for name in quirks.values)

    def row(self, single: str, row: Json) -> Json:
        """Changes the JSON of a row as the active quirks require, and returns it.

        `single` is the kind of the row as a noun in the singular, such as `user`.
        """
        if not self.needed:
            return row
        row["sourcedId"] = self.outward(single, row["sourcedId"])
        self._refer(row)
        self._base(row)
        self._flags(row)
        if single == "user":
            self._user(row)
        self._lists(row)
        if single == "class" and "no-titles" in self.quirks:
            row["title"] = ""
        if "flat-refs" in self.quirks:
            _flatten(row)
        return row

    def outward(self, single: str, sourced_id: str) -> str:
        """Returns the id under which the SIS serves a row.

        It differs from the row's original id if a quirk changes ids.
        """
        if "rekeyed" in self.quirks and single in ("user", "demographics"):
            return NEW_KEY + sourced_id
        return NEW_YEAR + sourced_id if "rollover" in self.quirks and single in ROLLED else sourced_id

    def inward(self, sourced_id: str) -> str:
        """Returns the original id of a row, given the id under which the SIS serves it. Reverses `outward`."""
        for quirk, prefix in (("rekeyed", NEW_KEY), ("rollover", NEW_YEAR)):
            if quirk in self.quirks and sourced_id.startswith(prefix):
                return sourced_id.removeprefix(prefix)
        return sourced_id

    def _refer(self, value: Any) -> None:
        if isinstance(value, list):
            for member in value:
                self._refer(member)
        elif isinstance(value, dict):
            if "href" in value:
                path, _, last = value["href"].rpartition("/")
                value["sourcedId"] = self.outward(value["type"], last)
                value["href"] = f"{path}/{value['sourcedId']}"
                if "relative-hrefs" in self.quirks:
                    value["href"] = value["href"].removeprefix(self.origin)
            for member in value.values():
                if isinstance(member, dict | list):
                    self._refer(member)

    def _base(self, row: Json) -> None:
        if "modified-null" in self.quirks:
            row["dateLastModified"] = None
        if "modified-same" in self.quirks:
            row["dateLastModified"] = self.refreshed
        if "modified-offset" in self.quirks:
            # 03:00 UTC is 12:00 at +09:00, and 00:00 UTC is 09:00, both on the same day.
            day, _, hour = row["dateLastModified"].partition("T")
            row["dateLastModified"] = f"{day}T{int(hour[:2]) + 9:02}{hour[2:-1]}+09:00"
        if "status-inactive" in self.quirks and row["status"] == "tobedeleted":
            row["status"] = "inactive"
        if "status-empty" in self.quirks and row["status"] == "active":
            row["status"] = ""
        if "status-missing" in self.quirks:
            del row["status"]

    def _flags(self, row: Json) -> None:
        form = self.quirks.text("booleans")
        if form is None:
            return
        for name in FLAGS & row.keys():
            row[name] = BOOLEANS[form][str(row[name]).lower() == "true"]

    def _user(self, row: Json) -> None:
        turn = sum(row["sourcedId"].encode())
        if "few-usernames" in self.quirks and turn % 3:
            row["username"] = ""
        if "passwords" in self.quirks:
            row["password"] = f"made-up-{turn}"
        if "rekeyed" in self.quirks:
            row["metadata"] = {"formerSourcedId": row["sourcedId"].removeprefix(NEW_KEY)}

    def _lists(self, row: Json) -> None:
        if "grades" in row and "grades-names" in self.quirks:
            row["grades"] = [_grade(grade) for grade in row["grades"]]
        if "grades" in row and "grades-string" in self.quirks:
            row["grades"] = ",".join(row["grades"])
        periods = row.get("periods")
        if periods and "periods-string" in self.quirks:
            row["periods"] = periods if isinstance(periods, str) else ",".join(periods)
        if periods and "periods-list" in self.quirks:
            row["periods"] = periods.split(",") if isinstance(periods, str) else periods


def _grade(code: str) -> str:
    return "Kindergarten" if code == "KG" else f"{ORDINALS[int(grade_title(code))]} grade"


def _flatten(row: Json) -> None:
    for name, value in list(row.items()):
        if isinstance(value, dict) and "href" in value:
            row[f"{name}SourcedId"] = row.pop(name)["sourcedId"]
        elif isinstance(value, list) and value and isinstance(value[0], dict) and "href" in value[0]:
            row[f"{name.removesuffix('s')}SourcedIds"] = ",".join(reference["sourcedId"] for reference in row.pop(name))

"""Defines the quirks of the sandbox SIS: ways to misbehave as real systems do. Applies quirks that add or remove rows.

A quirk is written as `name` or `name:value`. `QUIRKS` describes the effect of each; `aimline sandbox quirks` lists
them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from app.sandbox.district import District
from app.sandbox.oneroster import Enrollment, User
from app.sandbox.school import Seat
from app.sandbox.sis_gradebook import Result
from app.sandbox.sis_history import Row

QUIRKS: Final = {
    # paging
    "clamp:N": "No page has more than N rows, whatever the limit; nothing says so.",
    "no-total": "No X-Total-Count header.",
    "no-link": "No Link header.",
    "relative-next": "Links without scheme and host.",
    "hostless-next": "Links with an empty host (http:///…).",
    "foreign-next": "Links that name another host (sis.example.net): the token must not go there.",
    "lagging-users": "Users, classes and demographics are those of the day before; enrollments are today's.",
    "day-turns:N": "After N pages the next day begins: total, rows and X-Roster-Revision change in mid pull.",
    "repeated-rows": "Each page but the first begins with the last row of the page before it.",
    # deletion and delta
    "no-tombstones": "tobedeleted is never sent: rows vanish.",
    "current-enrollments": "Only current enrollments are served: one who dropped a class is an absence.",
    "modified-null": "dateLastModified is null, and a filter by it finds nothing.",
    "modified-offset": "dateLastModified has the offset +09:00.",
    "modified-same": "dateLastModified is the same for all rows: a filter by it finds all or nothing.",
    "status-empty": "status is empty for what is active.",
    "status-missing": "There is no status.",
    "status-inactive": "status is inactive where it should be tobedeleted.",
    "rollover": "The next school year has begun: sessions, courses, classes and enrollments are all replaced.",
    "error-200:COLLECTION": "A list of the collection is answered 200 with an error and no rows.",
    "empty:COLLECTION": "The collection is empty.",
    # identity
    "row-per-school": "One user row for each person and school: sourcedId changes on transfer.",
    "rekeyed": "Users have new sourcedIds; the old one is in metadata.",
    "re-enrolled": "Some students have two rows for the same class: one that ended, one that runs.",
    # shape
    "flat-refs": "Flat classSourcedId and termSourcedIds in place of references.",
    "relative-hrefs": "hrefs without scheme and host.",
    "booleans:FORM": "Booleans as native, string, one (1 and 0) or null.",
    "grades-string": "grades is a string, not a list.",
    "grades-names": "grades are names: Kindergarten, Tenth grade.",
    "periods-string": "periods is a string.",
    "periods-list": "periods is a list.",
    "no-titles": "Every class's title is empty.",
    "few-usernames": "Two in three usernames are empty.",
    "missing:PATH": "A path is not there (404), as in missing:gradingPeriods or missing:schools/classes.",
    "base:PATH": "1.2 is served under PATH, and under no other base; its gradebook too.",
    "passwords": "User rows carry a password.",
    # transport and auth
    "token-basic": "The token endpoint takes Basic only.",
    "token-body": "The token endpoint takes credentials in the body only.",
    "token-redirect": "The token endpoint answers 307 to where it moved.",
    "no-expires": "Tokens come without expires_in.",
    "token-dies:N": "A token is refused after N requests.",
    "oauth1-only": "OAuth 1.0a signatures only; there is no token endpoint.",
    "throttle:N": "Every Nth request is answered 429 with Retry-After: 1.",
    "throttle-silent:N": "Every Nth request is answered 429 without Retry-After.",
    "bad-gateway:N": "Every Nth request is answered 502.",
    "gateway-timeout:N": "Every Nth request is answered 504.",
    "at-most:N": "More than N requests at once are answered 429.",
    "no-code-minor": "Errors come without imsx_CodeMinor.",
    "html-errors": "Errors are HTML pages.",
    # gradebook
    "extra-credit": "Some scores are above resultValueMax.",
    "exempt": "Some results are exempt and have no score.",
    "vendor-status": "scoreStatus is in the vendor's own words.",
}
FORMS = {name.partition(":")[0]: name for name in QUIRKS}
CHANGE_ROWS = {"no-tombstones", "current-enrollments", "row-per-school", "re-enrolled"}
ENROLLED_AGAIN = 10  # one of this many students
BOOLEANS: Final = {"native": (False, True), "string": ("false", "true"), "one": (0, 1), "null": (None, None)}
SUFFIX_LENGTH = 4  # letters of a school's id that are added to a user row's id


class UnknownQuirk(ValueError):
    """Raised if a requested quirk (deviation of the simulated SIS) does not exist or lacks its value.

    The message gives the right form.
    """


class Quirks:
    """The deliberate deviations (quirks) of the simulated SIS that are switched on.

    The constructor raises `UnknownQuirk` for a name that does not exist or lacks its value.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.values: dict[str, list[str]] = {}
        for quirk in names:
            name, _, value = quirk.partition(":")
            form = FORMS.get(name)
            if form is None or not _fits(form, value):
                raise UnknownQuirk(
                    f"{quirk} is no quirk{f': write {form}' if form else ''}. See: aimline sandbox quirks"
                )
            self.values.setdefault(name, []).append(value)
        self.change_rows = bool(CHANGE_ROWS & self.values.keys())

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def number(self, name: str) -> int | None:
        """Returns the number N of a quirk (deviation) that is written as `name:N`, or None if it is not switched on."""
        return int(self.values[name][-1]) if name in self.values else None

    def text(self, name: str) -> str | None:
        """Returns the value of a quirk (deviation) that is written as `name:value`, or None if it is not switched on.

        If it is given several times, returns the last value.
        """
        return self.values[name][-1] if name in self.values else None

    def named(self, name: str, value: str) -> bool:
        """Returns whether the quirk (deviation) `name:value` is switched on."""
        return value in self.values.get(name, ())

    def rows(self, district: District, kind: str, rows: Iterable[Row]) -> Iterator[Row]:
        """Yields the rows that the SIS serves. Some quirks leave out rows.

        `kind` is the kind of all these rows.
        """
        current = kind == "enrollments" and "current-enrollments" in self
        for row in rows:
            if not row.active and (current or "no-tombstones" in self):
                continue
            if current and not row.record.begin_date <= district.date < row.record.end_date:
                continue
            yield row

    def users(self, user: User) -> Iterator[User]:
        """Yields the user rows of one person: normally one; if the deviation `row-per-school` is switched on, one for
        each school.
        """
        if "row-per-school" not in self:
            yield user
            return
        for org in user.org_sourced_ids:
            yield replace(user, sourced_id=f"{user.sourced_id}.{org[:SUFFIX_LENGTH]}", org_sourced_ids=(org,))

    def enrollment(self, enrollment: Enrollment) -> Enrollment:
        """Returns the enrollment as the SIS serves it.

        With the quirk `row-per-school`, a person has a user row for each school. The enrollment then refers to the row
        for its own school. Otherwise it is returned unchanged.
        """
        if "row-per-school" not in self:
            return enrollment
        return replace(
            enrollment, user_sourced_id=f"{enrollment.user_sourced_id}.{enrollment.school_sourced_id[:SUFFIX_LENGTH]}"
        )

    def enrollments(self, seat: Seat, enrolled: Iterable[Enrollment]) -> Iterator[Enrollment]:
        """Yields a student's enrollments as the SIS serves them.

        With the quirk `re-enrolled`, some students have two successive enrollments in their first class. Otherwise the
        enrollments are yielded unchanged.
        """
        reenrolled = "re-enrolled" in self and seat.number % ENROLLED_AGAIN == 0
        for enrollment in enrolled:
            if reenrolled:
                reenrolled, middle = False, enrollment.begin_date + (enrollment.end_date - enrollment.begin_date) / 9
                yield replace(enrollment, sourced_id=f"{enrollment.sourced_id}-1", end_date=middle)
                enrollment = replace(enrollment, begin_date=middle)
            yield enrollment

    def result(self, result: Result) -> Result:
        """Returns the result as the SIS serves it.

        Three quirks change results: `extra-credit` gives some a score above the maximum, `exempt` exempts some, and
        `vendor-status` gives all a status that OneRoster does not define.
        """
        turn = sum(result.sourced_id.encode()) % 10  # the same result always gets the same quirk
        if "extra-credit" in self and turn == 0:
            result = replace(result, score=105.0)
        if "exempt" in self and turn == 1:
            result = replace(result, score=None, score_status="exempt")
        if "vendor-status" in self:
            result = replace(result, score_status="Graded - Final")
        return result


def _fits(form: str, value: str) -> bool:
    match form.partition(":")[2]:
        case "":
            return not value
        case "N":
            return value.isdecimal() and int(value) > 0
        case "FORM":
            return value in BOOLEANS
        case _:
            return bool(value)

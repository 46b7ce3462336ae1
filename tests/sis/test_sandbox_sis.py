"""Tests the sandbox SIS over real HTTP: every operation, field, query, header and error of OneRoster 1.1 and 1.2."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.sandbox.sis_quirks import Quirks, UnknownQuirk
from tests.processes import REPOSITORY, TRUSTS_NOBODY
from tests.sis.oneroster_fields import FIELDS, faults
from tests.sis.sandbox_sis import ALL, BOOK, PURL, V11, V12, Row, client_of, error, everything, rows, running, signed_in
from tests.warm import Warm

pytestmark = pytest.mark.long

LISTS = {
    "academicSessions": "academicSessions",
    "classes": "classes",
    "courses": "courses",
    "demographics": "demographics",
    "enrollments": "enrollments",
    "gradingPeriods": "academicSessions",
    "orgs": "orgs",
    "schools": "orgs",
    "students": "users",
    "teachers": "users",
    "terms": "academicSessions",
    "users": "users",
}
BOOK_LISTS = {kind: kind for kind in ("categories", "lineItems", "results")}
MORE = {kind: kind for kind in ("scoreScales", "assessmentLineItems", "assessmentResults")}
SERVICES = {V11: ("1.1", LISTS | BOOK_LISTS), V12: ("1.2", LISTS), BOOK: ("1.2", BOOK_LISTS | MORE)}
SINGLE = {kind: kind.removesuffix("s") for kind in FIELDS["1.2"]} | {
    "classes": "class",
    "categories": "category",
    "demographics": "demographics",
}
EVERY = [(base, name) for base, (_, lists) in SERVICES.items() for name in lists]


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    with running("--students", "200", "--day", "6") as address:
        yield address


@pytest.fixture(scope="module")
def client(sis: str) -> Iterator[httpx.Client]:
    with signed_in(sis) as client:
        yield client


@pytest.mark.parametrize(("base", "name"), EVERY)
def test_every_row_has_the_published_fields(client: httpx.Client, base: str, name: str) -> None:
    """Each list is a JSON object with the standard's name, and each row has exactly the standard's fields."""
    version, lists = SERVICES[base]
    answer = client.get(f"{base}/{name}", params={"limit": 3000})
    assert list(answer.json()) == [lists[name]]
    listed = rows(answer)
    assert listed
    for row in listed:
        assert faults(version, lists[name], row) == []
    assert len({row["sourcedId"] for row in listed}) == len(listed)


@pytest.mark.parametrize(("base", "name"), EVERY)
def test_a_row_is_found_by_its_id(client: httpx.Client, base: str, name: str) -> None:
    """A row of a list can be read by its id, which is case-sensitive; an unknown id gives 404."""
    kind = SERVICES[base][1][name]
    listed = everything(client, f"{base}/{name}")
    for row in (listed[0], listed[len(listed) // 2], listed[-1]):
        assert client.get(f"{base}/{name}/{row['sourcedId']}").json() == {SINGLE[kind]: row}
    assert error(client.get(f"{base}/{name}/nobody")) == (404, "unknownobject")


@pytest.mark.parametrize(("base", "name"), EVERY)
def test_pages_put_together_are_the_list(client: httpx.Client, base: str, name: str) -> None:
    """The pages of a list, of any size, together have its rows in order, and the total is their number."""
    whole = client.get(f"{base}/{name}", params={"limit": 50_000})
    total = int(whole.headers["x-total-count"])
    assert len(rows(whole)) == total
    page = max(1, total // 7)
    assert everything(client, f"{base}/{name}", page) == rows(whole)
    assert rows(client.get(f"{base}/{name}", params={"offset": total})) == []


def links(answer: httpx.Response) -> dict[str, str]:
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers["link"])}


def test_links_lead_from_page_to_page(client: httpx.Client) -> None:
    """`next` leads through all rows and keeps the filter; the first page has no prev, the last no next."""
    answer = client.get(f"{V12}/users", params={"limit": 100, "filter": "enabledUser='true'"})
    assert links(answer).keys() == {"first", "next", "last"}
    last = links(answer)["last"]
    listed = rows(answer)
    address = ""
    while "next" in links(answer):
        address = links(answer)["next"]
        answer = client.get(address)
        listed += rows(answer)
        assert "prev" in links(answer)
    assert address == last
    assert len(listed) == int(answer.headers["x-total-count"])
    assert listed == everything(client, f"{V12}/users")


def test_default_limit_is_a_hundred(client: httpx.Client) -> None:
    """A request without a limit returns 100 rows."""
    assert len(rows(client.get(f"{V11}/users"))) == 100


PARENTS = {"schools": "schools", "classes": "classes", "courses": "courses", "terms": "terms"}
NESTED = [
    ("schools", "classes", lambda row, of: row["school"]["sourcedId"] == of),
    ("schools", "enrollments", lambda row, of: row["school"]["sourcedId"] == of),
    ("schools", "students", lambda row, of: row["role"] == "student" and of in [o["sourcedId"] for o in row["orgs"]]),
    ("schools", "teachers", lambda row, of: row["role"] == "teacher" and of in [o["sourcedId"] for o in row["orgs"]]),
    ("schools", "terms", lambda row, of: row["type"] == "semester"),
    ("courses", "classes", lambda row, of: row["course"]["sourcedId"] == of),
    ("terms", "classes", lambda row, of: of in [term["sourcedId"] for term in row["terms"]]),
    ("terms", "gradingPeriods", lambda row, of: row["type"] == "gradingPeriod" and row["parent"]["sourcedId"] == of),
    ("classes", "lineItems", lambda row, of: row["class"]["sourcedId"] == of),
]


@pytest.mark.parametrize(("above", "shown", "belongs"), NESTED, ids=lambda one: one if isinstance(one, str) else "")
def test_a_nested_list_is_the_part_of_the_whole(client: httpx.Client, above: str, shown: str, belongs: Any) -> None:
    """A nested list has the same rows as the whole list with the corresponding filter."""
    whole = everything(client, f"{V11}/{shown}")
    for parent in everything(client, f"{V11}/{above}")[:3]:
        expected = [row for row in whole if belongs(row, parent["sourcedId"])]
        assert everything(client, f"{V11}/{above}/{parent['sourcedId']}/{shown}", 70) == expected
    assert error(client.get(f"{V11}/{above}/nobody/{shown}")) == (404, "unknownobject")


def test_people_of_a_class_and_classes_of_a_person(client: httpx.Client) -> None:
    """The people of a class and the classes of a person both agree with the active enrollments.

    This is so even in a class that somebody moved to or left.
    """
    enrolled = everything(client, f"{V12}/enrollments")
    gone = {row["class"]["sourcedId"] for row in enrolled if row["status"] == "tobedeleted"}
    room = sorted(gone)[0]
    of_room = [row for row in enrolled if row["class"]["sourcedId"] == room]
    active = {(row["role"], row["user"]["sourcedId"]) for row in of_room if row["status"] == "active"}
    for role, path in (("student", "students"), ("teacher", "teachers")):
        ids = {row["sourcedId"] for row in everything(client, f"{V12}/classes/{room}/{path}")}
        assert ids == {user for its, user in active if its == role}
        user = sorted(ids)[0]
        classes = {row["sourcedId"] for row in everything(client, f"{V12}/{path}/{user}/classes")}
        assert classes == {
            row["class"]["sourcedId"]
            for row in enrolled
            if row["user"]["sourcedId"] == user and row["status"] == "active"
        }
        assert classes == {row["sourcedId"] for row in everything(client, f"{V12}/users/{user}/classes")}
    school = of_room[0]["school"]["sourcedId"]
    under = f"{V12}/schools/{school}/classes/{room}"
    assert everything(client, f"{under}/enrollments") == of_room
    for path in ("students", "teachers"):
        assert everything(client, f"{under}/{path}") == everything(client, f"{V12}/classes/{room}/{path}")
    grades = set(rows(client.get(f"{V12}/schools/{school}/classes"))[0]["grades"])
    assert grades & {grade for row in rows(client.get(f"{V12}/schools/{school}/courses")) for grade in row["grades"]}


@pytest.mark.parametrize("base", [V11, BOOK])
def test_the_gradebook_of_a_class(client: httpx.Client, base: str) -> None:
    """The results of a class can be read by class, by line item and by student; each list is a part of the class's
    results.
    """
    result = rows(client.get(f"{base}/results", params={"limit": 1, "offset": 333}))[0]
    item = client.get(f"{base}/lineItems/{result['lineItem']['sourcedId']}").json()["lineItem"]
    room, student = item["class"]["sourcedId"], result["student"]["sourcedId"]
    items = {row["sourcedId"] for row in everything(client, f"{base}/classes/{room}/lineItems")}
    of_class = everything(client, f"{base}/classes/{room}/results")
    assert result in of_class
    assert items == {row["lineItem"]["sourcedId"] for row in of_class}
    by_item = everything(client, f"{base}/classes/{room}/lineItems/{item['sourcedId']}/results")
    assert by_item == [row for row in of_class if row["lineItem"]["sourcedId"] == item["sourcedId"]]
    by_student = everything(client, f"{base}/classes/{room}/students/{student}/results")
    assert by_student == [row for row in of_class if row["student"]["sourcedId"] == student]
    if base == BOOK:
        assert len(rows(client.get(f"{BOOK}/classes/{room}/scoreScales"))) == 1
        assert len(rows(client.get(f"{BOOK}/classes/{room}/categories"))) == 4
        school = item["school"]["sourcedId"]
        assert room in {row["class"]["sourcedId"] for row in everything(client, f"{BOOK}/schools/{school}/scoreScales")}


FILTERS: list[tuple[str, str, Any]] = [
    ("users", "givenName~'MA'", lambda row: "ma" in row["givenName"].lower()),
    ("users", "role!='student'", lambda row: row["role"] != "student"),
    ("users", "givenName>'T'", lambda row: row["givenName"].lower() > "t"),
    ("users", "givenName<='b' OR givenName>='y'", lambda row: not "b" < row["givenName"].lower() < "y"),
    ("users", "role='student' AND familyName~'mock'", lambda r: r["role"] == "student" and "mock" in str(r).lower()),
    ("users", "grades='03'", lambda row: row.get("grades") == ["03"]),
    ("users", "familyName!='O'Mock'", lambda row: row["familyName"] != "O'Mock"),
    ("users", "status='tobedeleted'", lambda row: row["status"] == "tobedeleted"),
    ("enrollments", "primary='true'", lambda row: row.get("primary") is True),
    ("academicSessions", "startDate<'2026-12-01'", lambda row: row["startDate"] < "2026-12-01"),
    ("results", "score<50", None),
    ("results", "score>='99'", lambda row: row["score"] >= 99),
    ("orgs", "metadata.gender='mixed'", lambda row: "metadata" in row),
    ("users", "dateLastModified>='2026-11-24T03:00:00Z'", lambda row: row["dateLastModified"] >= "2026-11-24T03"),
]


@pytest.mark.parametrize(("name", "condition", "matches"), FILTERS, ids=[condition for _, condition, _ in FILTERS])
def test_filters(client: httpx.Client, name: str, condition: str, matches: Any) -> None:
    """Each filter operator returns the matching rows and their number."""
    answer = client.get(f"{V11}/{name}", params={"filter": condition, "limit": 20_000})
    if matches is None:
        assert error(answer) == (400, "invaliddata")
        return
    expected = [row for row in everything(client, f"{V11}/{name}") if matches(row)]
    assert expected
    assert rows(answer) == expected
    assert int(answer.headers["x-total-count"]) == len(expected)
    assert everything(client, f"{V11}/{name}", max(1, len(expected) // 3), filter=condition) == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", ["familyName", "sourcedId", "dateLastModified"])
def test_sort(client: httpx.Client, field: str, order: str) -> None:
    """A sorted list has all rows, each once and in order, over all of its pages."""
    listed = everything(client, f"{V12}/users", 97, sort=field, orderBy=order)
    keys = [row[field] if field == "sourcedId" else row[field].casefold() for row in listed]
    assert keys == sorted(keys, reverse=order == "desc")
    assert {row["sourcedId"] for row in listed} == {row["sourcedId"] for row in everything(client, f"{V12}/users")}


def test_fields(client: httpx.Client) -> None:
    """The sandbox SIS returns only the requested fields; 1.2 refuses an unknown field, and 1.1 returns all fields."""
    listed = rows(client.get(f"{V12}/users", params={"fields": "sourcedId,givenName"}))
    assert all(row.keys() == {"sourcedId", "givenName"} for row in listed)
    one = client.get(f"{V12}/users/{listed[0]['sourcedId']}", params={"fields": "sourcedId,givenName"})
    assert one.json() == {"user": listed[0]}
    assert error(client.get(f"{V12}/users", params={"fields": "shoeSize"})) == (400, "invalid_selection_field")
    assert rows(client.get(f"{V11}/users", params={"fields": "shoeSize"})) == rows(client.get(f"{V11}/users"))


@pytest.mark.parametrize(
    ("base", "query", "minor"),
    [
        (V12, {"limit": "0"}, "invaliddata"),
        (V12, {"limit": "ten"}, "invaliddata"),
        (V12, {"offset": "-1"}, "invaliddata"),
        (V12, {"orderBy": "up"}, "invaliddata"),
        (V12, {"filter": "shoeSize='7'"}, "invalid_filter_field"),
        (V12, {"filter": "givenName='a' AND givenName='b' AND givenName='c'"}, "invaliddata"),
        (V12, {"filter": "dateLastModified>'yesterday'"}, "invaliddata"),
        (V11, {"filter": "shoeSize='7'"}, "invaliddata"),
        (V11, {"sort": "shoeSize"}, "invalid_sort_field"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(
    client: httpx.Client, base: str, query: dict[str, str], minor: str
) -> None:
    """A query that cannot be read is answered with 400 and a code that the OneRoster version defines."""
    assert error(client.get(f"{base}/users", params=query)) == (400, minor)


def test_what_is_not_there(client: httpx.Client) -> None:
    """The sandbox SIS refuses a path that it does not serve, and each request that would write."""
    assert error(client.get(f"{V11}/resources")) == (404, "unknownobject")
    assert error(client.delete(f"{BOOK}/results/x"))[0] == 405
    assert client.get(f"{V11}/resources").json()["imsx_messageRefIdentifier"]


def test_a_scope_allows_what_it_names(sis: str) -> None:
    """A scope allows only what it names.

    roster-core allows lists and rows, but no nested paths. Demographics need their own scope, and 1.1 has its own
    scopes.
    """
    core = f"{PURL}/v1p2/scope/roster-core.readonly"
    with signed_in(sis, core) as client:
        assert client.get(f"{V12}/users").status_code == 200
        school = rows(client.get(f"{V12}/schools"))[0]["sourcedId"]
        assert error(client.get(f"{V12}/schools/{school}/classes")) == (403, "forbidden")
        assert error(client.get(f"{V12}/demographics")) == (403, "forbidden")
        assert error(client.get(f"{V11}/users")) == (403, "unauthorisedrequest")
        assert error(client.get(f"{BOOK}/results")) == (403, "forbidden")
    with signed_in(sis, f"{PURL}/v1p2/scope/roster-demographics.readonly") as client:
        assert client.get(f"{V12}/demographics").status_code == 200
        assert client.get(f"{V12}/users").status_code == 403


def test_tokens(sis: str) -> None:
    """The sandbox SIS issues tokens for credentials in the header or the body.

    Wrong secrets, grants or scopes give the errors of RFC 6749.
    """
    form = {"grant_type": "client_credentials", "scope": ALL}
    body = form | {"client_id": "north", "client_secret": "of-a-test"}
    answer = httpx.post(f"{sis}oauth/token", data=body, verify=TRUSTS_NOBODY)
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 3600)
    wrong = [
        (form | {"client_id": "north", "client_secret": "no"}, 401, "invalid_client"),
        (body | {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (body | {"scope": "everything"}, 400, "invalid_scope"),
    ]
    for data, status, code in wrong:
        answer = httpx.post(f"{sis}oauth/token", data=data, verify=TRUSTS_NOBODY)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
    answer = httpx.get(f"{sis}{V12}/users", verify=TRUSTS_NOBODY)
    assert error(answer) == (401, "unauthorisedrequest")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_ends() -> None:
    """A token is refused after its lifetime (`expires_in`), and a new token is accepted."""
    with running("--students", "13", "--token-seconds", "1") as address, signed_in(address) as client:
        answer = client.get(f"{V12}/orgs")
        while answer.status_code == 200:
            answer = client.get(f"{V12}/enrollments", params={"limit": 5000})
        assert error(answer) == (401, "unauthorisedrequest")
        with signed_in(address) as repeated:
            assert repeated.get(f"{V12}/orgs").status_code == 200


def test_another_process_serves_the_same(client: httpx.Client) -> None:
    """Another process with the same arguments serves the same rows; another seed has no id in common."""

    def without_port(listed: list[Row]) -> str:
        return re.sub(r"127\.0\.0\.1:\d+", "", str(listed))

    # Another interpreter: forks of one share the seed of their hashes.
    another = Warm()
    for seed, same in (("1", True), ("2", False)):
        with client_of("--students", "200", "--day", "6", "--seed", seed, origin=another) as other:
            for path in (f"{V11}/users", f"{V12}/enrollments", f"{BOOK}/assessmentResults"):
                listed, expected = everything(other, path), everything(client, path)
                assert (without_port(listed) == without_port(expected)) == same
                ids = {row["sourcedId"] for row in listed} & {row["sourcedId"] for row in expected}
                assert same or not ids
    another.close()


def test_refused_arguments_are_told() -> None:
    """A quirk (deviation of the sandbox SIS) is refused if it is unknown, or if its value is missing or wrong.

    The command prints one sentence and exits.
    """
    command = [sys.executable, "-m", "app", "sandbox", "sis", "--quirk", "shy"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "shy is no quirk. See: aimline sandbox quirks\n"
    for quirk in ("clamp", "clamp:none", "clamp:0", "booleans:perhaps", "no-total:3"):
        with pytest.raises(UnknownQuirk, match=f"{quirk} is no quirk"):
            Quirks([quirk])

"""Tests each quirk (deliberate deviation) of the sandbox SIS over HTTP, compared with a source without quirks."""

import re
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from app.sandbox.sis_quirks import QUIRKS
from tests.processes import TRUSTS_NOBODY
from tests.sis.quirks_at_the_door import SHOWN, behave, both, shows
from tests.sis.sandbox_sis import BOOK, ON, V11, V12, error, everything, rows, running, signed_in

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    with running("--students", "200", "--day", "5") as address:
        yield address


@pytest.fixture
def client(sis: str) -> Iterator[httpx.Client]:
    httpx.post(f"{sis}sandbox/quirks", verify=TRUSTS_NOBODY)
    with signed_in(sis) as client:
        yield client


def test_every_quirk_is_shown() -> None:
    """Each quirk (deviation from the specification) of the sandbox SIS has a test."""
    assert {quirk.partition(":")[0] for quirk in SHOWN} == {quirk.partition(":")[0] for quirk in QUIRKS}


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
def test_a_quirk(client: httpx.Client, quirk: str) -> None:
    """Each quirk (deliberate deviation of the sandbox SIS) has an effect when it is switched on."""
    for name in [shown for shown in SHOWN if shown.partition(":")[0] == quirk.partition(":")[0]]:
        behave(client, name)
        SHOWN[name](client)


def link(client: httpx.Client, rel: str = "next") -> str:
    link_match = re.search(rf'<([^>]*)>; rel="{rel}"', client.get(f"{V12}/users").headers["link"])
    assert link_match
    return link_match[1]


@shows("clamp:30")
def _(client: httpx.Client) -> None:
    assert len(rows(client.get(f"{V12}/users", params={"limit": 100}))) == 30
    assert len(everything(client, f"{V12}/users")) > 200


@shows("no-total")
def _(client: httpx.Client) -> None:
    headers = client.get(f"{V12}/users").headers
    assert "x-total-count" not in headers
    assert "link" in headers


@shows("no-link")
def _(client: httpx.Client) -> None:
    headers = client.get(f"{V12}/users").headers
    assert "link" not in headers
    assert "x-total-count" in headers


@shows("relative-next")
def _(client: httpx.Client) -> None:
    assert link(client) == f"/{V12}/users?limit=100&offset=100"


@shows("hostless-next")
def _(client: httpx.Client) -> None:
    assert link(client) == f"http:///{V12}/users?limit=100&offset=100"


@shows("foreign-next")
def _(client: httpx.Client) -> None:
    assert link(client).startswith("https://sis.example.net/")


@shows("lagging-users")
def _(client: httpx.Client) -> None:
    for day in range(40, 60):  # on one of these days somebody enters
        client.post(f"sandbox/day/{day}")
        users = {row["sourcedId"] for row in everything(client, f"{V12}/users")}
        enrolled = {row["user"]["sourcedId"] for row in everything(client, f"{V12}/enrollments")}
        if enrolled - users:
            return
    raise AssertionError("No enrollment named a user who was not there.")


@shows("day-turns:2")
def _(client: httpx.Client) -> None:
    seen = [client.get(f"{V12}/orgs").headers["x-roster-revision"] for _ in range(5)]
    assert seen == ["5", "5", "6", "6", "7"]
    assert client.get("sandbox").json()["day"] == 7


@shows("repeated-rows")
def _(client: httpx.Client) -> None:
    first = rows(client.get(f"{V12}/users", params={"limit": 50}))
    second = rows(client.get(f"{V12}/users", params={"limit": 50, "offset": 50}))
    assert second[0] == first[-1]
    behave(client)
    assert second[1:] == rows(client.get(f"{V12}/users", params={"limit": 50, "offset": 50}))


SHOWN["no-tombstones"] = both(f"{V12}/enrollments")(
    lambda odd, fair: odd == [row for row in fair if row["status"] == "active"] != fair
)
SHOWN["current-enrollments"] = both(f"{V12}/enrollments")(
    lambda odd, fair: (
        odd == [row for row in fair if row["status"] == "active" and row["beginDate"] <= ON < row["endDate"]]
        and any(row["status"] == "active" for row in fair if row not in odd)
    )
)
SHOWN["modified-offset"] = both(f"{V12}/users")(
    lambda odd, _: {row["dateLastModified"][-6:] for row in odd} == {"+09:00"}
)
SHOWN["status-empty"] = both(f"{V12}/users")(lambda odd, _: {row["status"] for row in odd} == {"", "tobedeleted"})
SHOWN["status-missing"] = both(f"{V12}/users")(lambda odd, _: not any("status" in row for row in odd))
SHOWN["status-inactive"] = both(f"{V12}/users")(lambda odd, _: {row["status"] for row in odd} == {"active", "inactive"})


@shows("modified-null")
def _(client: httpx.Client) -> None:
    assert {row["dateLastModified"] for row in everything(client, f"{V12}/users")} == {None}
    assert everything(client, f"{V12}/users", filter="dateLastModified>'2000-01-01T00:00:00Z'") == []


@shows("modified-same")
def _(client: httpx.Client) -> None:
    whole = everything(client, f"{V12}/users")
    (when,) = {row["dateLastModified"] for row in whole}
    assert everything(client, f"{V12}/users", filter=f"dateLastModified>='{when}'") == whole
    assert everything(client, f"{V12}/users", filter=f"dateLastModified>'{when}'") == []


@shows("rollover")
def _(client: httpx.Client) -> None:
    kinds = ("academicSessions", "classes", "courses", "enrollments", "users")
    odd = {kind: everything(client, f"{V12}/{kind}") for kind in kinds}
    room = odd["classes"][0]
    assert client.get(f"{V12}/classes/{room['sourcedId']}").json() == {"class": room}
    assert room["course"]["sourcedId"] in {row["sourcedId"] for row in odd["courses"]}
    assert {row["schoolYear"] for row in odd["academicSessions"]} == {"2028"}
    behave(client)
    for kind in kinds:
        fair = {row["sourcedId"] for row in everything(client, f"{V12}/{kind}")}
        assert bool(fair & {row["sourcedId"] for row in odd[kind]}) == (kind == "users")


@shows("error-200:users")
def _(client: httpx.Client) -> None:
    assert error(client.get(f"{V12}/users")) == (200, "internal_server_error")
    assert rows(client.get(f"{V12}/orgs"))


@shows("empty:users")
def _(client: httpx.Client) -> None:
    answer = client.get(f"{V12}/users")
    assert (answer.json(), answer.headers["x-total-count"]) == ({"users": []}, "0")
    assert rows(client.get(f"{V12}/orgs"))


@shows("row-per-school")
def _(client: httpx.Client) -> None:
    users = everything(client, f"{V11}/users")
    assert {len(row["orgs"]) for row in users} == {1}
    people = Counter(row["identifier"] for row in users)
    assert max(people.values()) == 2
    ids = {row["sourcedId"] for row in users}
    assert {row["user"]["sourcedId"] for row in everything(client, f"{V11}/enrollments")} <= ids
    assert {row["student"]["sourcedId"] for row in everything(client, f"{V11}/results")} <= ids
    assert client.get(f"{V11}/users/{users[0]['sourcedId']}").json() == {"user": users[0]}


@shows("rekeyed")
def _(client: httpx.Client) -> None:
    users = everything(client, f"{V12}/users")
    enrolled = {row["user"]["sourcedId"] for row in everything(client, f"{V12}/enrollments")}
    assert enrolled <= {row["sourcedId"] for row in users}
    assert client.get(f"{V12}/users/{users[0]['sourcedId']}").json() == {"user": users[0]}
    behave(client)
    fair = {row["sourcedId"] for row in everything(client, f"{V12}/users")}
    assert fair == {row["metadata"]["formerSourcedId"] for row in users}
    assert not fair & {row["sourcedId"] for row in users}


@shows("re-enrolled")
def _(client: httpx.Client) -> None:
    listed = everything(client, f"{V12}/enrollments")
    pairs = Counter((row["user"]["sourcedId"], row["class"]["sourcedId"]) for row in listed)
    assert max(pairs.values()) == 2
    twice = max(pairs, key=lambda pair: pairs[pair])
    first, second = (row for row in listed if (row["user"]["sourcedId"], row["class"]["sourcedId"]) == twice)
    assert first["endDate"] == second["beginDate"]
    assert first["sourcedId"] != second["sourcedId"]


SHOWN["flat-refs"] = both(f"{V12}/classes")(
    lambda odd, fair: (
        [row["courseSourcedId"] for row in odd] == [row["course"]["sourcedId"] for row in fair]
        and [row["termSourcedIds"] for row in odd]
        == [",".join(term["sourcedId"] for term in row["terms"]) for row in fair]
        and not any("course" in row or "terms" in row for row in odd)
    )
)
SHOWN["relative-hrefs"] = both(f"{V12}/classes")(
    lambda odd, _: all(row["course"]["href"].startswith(f"/{V12}/courses/") for row in odd)
)
SHOWN["booleans:one"] = both(f"{V12}/users")(lambda odd, _: all(row["enabledUser"] == 1 for row in odd))
SHOWN["booleans:native"] = both(f"{V12}/users")(lambda odd, _: all(row["enabledUser"] is True for row in odd))
SHOWN["booleans:string"] = both(f"{V11}/users")(lambda odd, _: all(row["enabledUser"] == "true" for row in odd))
SHOWN["booleans:null"] = both(f"{V11}/users")(lambda odd, _: all(row["enabledUser"] is None for row in odd))
SHOWN["grades-string"] = both(f"{V12}/students")(lambda odd, _: {"KG", "10"} <= {row["grades"] for row in odd})
SHOWN["grades-names"] = both(f"{V12}/students")(
    lambda odd, _: {"Kindergarten", "Tenth grade"} <= {row["grades"][0] for row in odd}
)
SHOWN["periods-string"] = both(f"{V12}/classes")(
    lambda odd, _: all(isinstance(row.get("periods", ""), str) for row in odd)
)
SHOWN["periods-list"] = both(f"{V11}/classes")(
    lambda odd, _: all(isinstance(row.get("periods", []), list) for row in odd)
)
SHOWN["no-titles"] = both(f"{V12}/classes")(lambda odd, _: {row["title"] for row in odd} == {""})
SHOWN["few-usernames"] = both(f"{V12}/users")(
    lambda odd, _: 0.5 < sum(not row["username"] for row in odd) / len(odd) < 0.8
)
SHOWN["passwords"] = both(f"{V12}/users")(
    lambda odd, fair: all(row["password"] for row in odd) and not any("password" in row for row in fair)
)


@shows("missing:schools/classes")
def _(client: httpx.Client) -> None:
    school = rows(client.get(f"{V12}/schools"))[0]["sourcedId"]
    assert error(client.get(f"{V12}/schools/{school}/classes")) == (404, "unknownobject")
    assert rows(client.get(f"{V12}/classes"))


@shows("missing:gradingPeriods")
def _(client: httpx.Client) -> None:
    assert error(client.get(f"{V12}/gradingPeriods")) == (404, "unknownobject")
    assert rows(client.get(f"{V12}/terms"))


@shows("base:/learningdata/v1")
def _(client: httpx.Client) -> None:
    room = rows(client.get("learningdata/v1/classes"))[0]
    assert client.get(room["course"]["href"]).status_code == 200
    assert rows(client.get("learningdata/v1/results"))
    assert {client.get(f"{base}/orgs").status_code for base in (V11, V12)} == {404}


SHOWN["extra-credit"] = both(f"{BOOK}/results")(
    lambda odd, fair: max(row["score"] for row in odd) > 100 >= max(row["score"] for row in fair)
)
SHOWN["exempt"] = both(f"{BOOK}/results")(
    lambda odd, _: {"score" in row for row in odd if row["scoreStatus"] == "exempt"} == {False}
)
SHOWN["vendor-status"] = both(f"{BOOK}/results")(
    lambda odd, _: {row["scoreStatus"] for row in odd} == {"Graded - Final"}
)

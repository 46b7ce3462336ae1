"""Tests requests to a source: sign-in, waits, limits. Uses real sockets and small servers that misbehave."""

import asyncio
import base64
import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest

from app.core.outbound import parse_retry_after
from app.sis.oneroster_rest.connection import Connection, RetryPolicy
from app.sis.oneroster_rest.signin import sign, signature_base
from app.sis.port import SourceRefused
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import connect, pulled

TOKEN = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600}
EMPTY = {"orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"}


def well(request: SisRequest) -> Reply:
    """Answers as a source without rows and without grades."""
    if request.name == "token":
        return Reply(body=TOKEN)
    return Reply(body={request.name: []}) if request.name in EMPTY else Reply(404)


def test_signature_of_rfc_5849() -> None:
    """The OAuth 1 signature equals the example of RFC 5849, 1.2, in its base string and HMAC-SHA1."""
    oauth = {
        "oauth_consumer_key": "dpf43f3p2l4k3l03",
        "oauth_token": "nnch734d00sl2jdk",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "137131202",
        "oauth_nonce": "chapoH",
    }
    base = signature_base("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original", oauth)
    assert sign("HMAC-SHA1", base, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00") == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


def test_signature_base_of_rfc_5849() -> None:
    """The example of RFC 5849, 3.4.1.1, gives its signature base string.

    It includes repeated, empty and encoded parameters, and leaves out the port.
    """
    oauth = {
        "oauth_consumer_key": "9djdj82h48djs9d2",
        "oauth_token": "kkk9d7dh3k39sjv7",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "137131201",
        "oauth_nonce": "7d8f3e4a",
        "c2": "",  # it is of the body in the RFC; it is normalized alike
    }
    base = signature_base("get", "HTTP://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b&a3=2%20q", oauth)
    assert base == (
        "GET&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
        "c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_a_secret_is_in_no_text_of_the_settings() -> None:
    """The `repr` and `str` of the connection settings do not contain the secret."""
    connection = connect("http://127.0.0.1/", "1.1", client_secret="kept-to-ourselves")
    assert "kept-to-ourselves" not in f"{connection!r} {connection}"


async def test_basic_is_encoded_and_then_tried_as_it_is() -> None:
    """The client's id and secret are first sent encoded, as RFC 6749 requires.

    If the source refuses them, they are sent without encoding, because many servers do not decode them.
    """

    def answer(requests: SisRequest) -> Reply:
        if requests.name != "token":
            return well(requests)
        pair = base64.b64decode(requests.headers["authorization"].partition(" ")[2]).decode()
        return Reply(body=TOKEN) if pair == "no:rth:a%b+c" else Reply(401, {"error": "invalid_client"})

    with answering(answer) as (address, requests):
        await pulled(connect(address, "1.1", client_id="no:rth", client_secret="a%b+c"))
    first = base64.b64decode(requests[0].headers["authorization"].partition(" ")[2]).decode()
    assert first == "no%3Arth:a%25b%2Bc"


async def test_the_secret_follows_no_redirect_to_another_host() -> None:
    """If the token endpoint redirects to another host, the redirect is refused and the secret is not sent there."""
    with answering(well) as (other, seen):

        def answer(request: SisRequest) -> Reply:
            return Reply(307, headers={"Location": f"{other}token"}) if request.name == "token" else well(request)

        with answering(answer) as (address, _):
            with pytest.raises(SourceRefused, match="secret must not go"):
                await pulled(connect(address, "1.1"))
    assert seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_page_is_fetched_from_another_place(status: int) -> None:
    """If a page answers with a redirect, it is refused, and no token is sent to the other address."""
    with answering(well) as (other, seen):

        def answer(request: SisRequest) -> Reply:
            redirect = {"Location": f"{other}{request.name}"}
            return Reply(status, headers=redirect) if request.name == "enrollments" else well(request)

        with answering(answer) as (address, _):
            with pytest.raises(SourceRefused, match="not followed"):
                await pulled(connect(address, "1.1"))
    assert seen == []


async def test_a_next_on_another_host_gets_no_token() -> None:
    """A `next` link to another host is not followed with the token; pages are requested by offset instead."""
    users = [{"sourcedId": f"u{number}", "status": "active"} for number in range(5)]
    with answering(well) as (other, seen):

        def answer(request: SisRequest) -> Reply:
            if request.name != "users":
                return well(request)
            at = int(request.query["offset"])
            link = {"Link": f'<{other}users?cursor=abc>; rel="next"'} if at + 2 < 5 else {}
            return Reply(body={"users": users[at : at + 2]}, headers=link)

        with answering(answer) as (address, _):
            rows, warnings = await pulled(connect(address, "1.1"))
    assert list(rows["person"]) == ["u0", "u1", "u2", "u3", "u4"]
    assert any("another host" in warning for warning in warnings)
    assert seen == []


async def test_a_cursor_is_followed_on_the_same_host() -> None:
    """A `next` link without an offset is followed with the token if it leads to the same host. The link may be
    relative.
    """
    pages = {"": ("u0", "b"), "b": ("u1", "c"), "c": ("u2", "")}

    def answer(request: SisRequest) -> Reply:
        if request.name != "users":
            return well(request)
        one, after = pages[request.query.get("cursor", "")]
        link = {"Link": f'<?cursor={after}>; title="a, b"; rel="next"'} if after else {}
        return Reply(body={"users": [{"sourcedId": one}]}, headers=link)

    with answering(answer) as (address, _):
        rows, _ = await pulled(connect(address, "1.1"))
    assert list(rows["person"]) == ["u0", "u1", "u2"]


INNER = ["https://10.0.0.1/v1p1", "https://169.254.169.254/v1p1", "http://127.0.0.1:9/v1p1", "ftp://sis.example.org/"]


@pytest.mark.parametrize("url", INNER)
async def test_an_inner_address_is_not_asked(url: str) -> None:
    """Outside of a sandbox, a private address is refused, both as the base and as the token endpoint of a source."""
    with pytest.raises(SourceRefused, match="url cannot be used"):
        await pulled(connect("https://sis.example.org/", "1.1", url=url, sandbox=False))
    with pytest.raises(SourceRefused, match="token-url cannot be used"):
        await pulled(connect("https://sis.example.org/", "1.1", token_url=url, sandbox=False))


async def test_a_name_that_leads_inside_is_refused_where_the_socket_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the public-looking name of a source resolves to a loopback address, the connection is refused before it is
    opened.
    """

    def inside(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    with pytest.raises(SourceRefused, match="not on the public Internet"):
        await pulled(connect("https://sis.example.org/", "1.1", sandbox=False))


def test_retry_after_is_read_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Retry-After` is read as seconds or as a date, and is ignored otherwise."""
    assert parse_retry_after("7") == 7
    at = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    monkeypatch.setattr("app.core.outbound.now", lambda: at)
    assert parse_retry_after(format_datetime(at + timedelta(seconds=30), usegmt=True)) == 29.75
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [parse_retry_after(text) for text in ("soon", "", "-1", "1.5", None)] == [None] * 5


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_source_is_waited_for_but_not_for_ever(status: int) -> None:
    """If a source keeps answering that it is busy, a request is repeated a limited number of times.

    The error then advises to try again later.
    """
    with answering(lambda requests: Reply(body=TOKEN) if requests.name == "token" else Reply(status, "<html>busy")) as (
        address,
        requests,
    ):
        patience = RetryPolicy(tries=3, first=0.001, longest=0.01, total=5)
        with pytest.raises(SourceRefused, match=rf"answers {status} at /.*asked 3 times.*Try again later"):
            await pulled(connect(address, "1.1", patience=patience, concurrency=1))
    assert len([one for one in requests if one.name == "results"]) <= 3


async def test_a_wait_beyond_patience_is_not_begun() -> None:
    """If a source asks for a wait that exceeds the limit, the run does not wait, and the error states the wait."""
    with answering(lambda _: Reply(429, headers={"Retry-After": "86400"})) as (address, requests):
        with pytest.raises(SourceRefused, match="a delay of 86,400 s"):
            await pulled(connect(address, "1.1"))
    assert len(requests) == 1


async def test_a_retry_after_is_honoured_by_every_request() -> None:
    """After a 429 with `Retry-After`, no request is sent before the stated time."""
    named: list[float] = []
    came: list[float] = []
    turn = threading.Lock()

    def answer(request: SisRequest) -> Reply:
        if request.name == "token":
            return Reply(body=TOKEN)
        with turn:
            if not named:
                named.append(time.monotonic())
                return Reply(429, headers={"Retry-After": "6"})
            came.append(time.monotonic())
        # Those that were under way already end later, so that none makes room for another before the 429 is read.
        time.sleep(max(0.0, named[0] + 5 - time.monotonic()))
        return well(request)

    patience = RetryPolicy(tries=5, first=0.01, longest=0.1, total=120, answer=60, whole=60)
    with answering(answer) as (address, _):
        await asyncio.wait_for(pulled(connect(address, "1.1", patience=patience)), 120)
    late = [moment - named[0] for moment in came[4:]]  # of five at once, four may be under way already
    assert late
    assert min(late) >= 5.9


GARBLED = ["", "<html>maintenance</html>", '{"orgs": [', "\ufeff"]


@pytest.mark.parametrize("body", GARBLED)
async def test_an_answer_that_is_no_json_is_asked_for_again_and_then_refused(body: str) -> None:
    """A response that is no JSON is requested again and finally refused. The error quotes nothing of it.

    A web page in place of the first page, such as a login, is not requested again: it would be the same.
    """
    with answering(lambda requests: Reply(body=body) if requests.name == "orgs" else well(requests)) as (
        address,
        requests,
    ):
        with pytest.raises(SourceRefused, match=r"a web page|nothing|breaks off") as refused:
            await pulled(connect(address, "1.1"))
    assert len([one for one in requests if one.name == "orgs"]) == (1 if "html" in body else 3)
    assert "maintenance" not in refused.value.detail


DEEP = {
    "a list": ('{"orgs": %s}', 100_000),
    "a row": ('{"orgs": [%s]}', 1000),
    "a name": ('{"orgs": [{"sourcedId": "o", "name": %s}]}', 1000),
    "a reference": ('{"orgs": [{"sourcedId": "o", "parent": %s}]}', 1000),
}


@pytest.mark.parametrize("case", DEEP)
async def test_lists_in_lists_without_end_are_refused(case: str) -> None:
    """JSON that is nested too deeply is refused with a sentence."""
    form, deep = DEEP[case]
    body = form % ("[" * deep + "]" * deep)
    with answering(lambda request: Reply(body=body) if request.name == "orgs" else well(request)) as (
        address,
        _,
    ):
        with pytest.raises(SourceRefused, match="orgs"):
            await pulled(connect(address, "1.1"))


NO_LISTS: list[object] = [
    {"imsx_codeMajor": "failure", "imsx_description": "Row of Ada Lovelace is locked"},
    {"users": None},
    {"users": "none"},
    {"people": []},
    {"users": [], "imsx_codeMajor": "Failure"},
    None,
    7,
]


@pytest.mark.parametrize("body", NO_LISTS, ids=str)
async def test_what_is_no_list_is_never_an_empty_one(body: object) -> None:
    """A response 200 without a list is refused instead of counting as an empty list, and its text is not shown."""
    with answering(lambda request: Reply(body=body) if request.name == "users" else well(request)) as (
        address,
        _,
    ):
        with pytest.raises(SourceRefused, match="no row is removed") as refused:
            await pulled(connect(address, "1.1"))
    assert "Ada" not in refused.value.detail


@pytest.mark.parametrize(
    "body", [{"Users": [{"SourcedId": "u1"}]}, [{"sourcedId": "u1"}], {"users": {"sourcedId": "u1"}}]
)
async def test_a_list_in_another_dress_is_one(body: object) -> None:
    """A list is read although its key is in another case, its envelope is missing, or its only row is not in a list."""

    def answer(request: SisRequest) -> Reply:
        more = request.name == "users" and request.query["offset"] == "0"
        return Reply(body=body) if more else well(request)

    with answering(answer) as (address, _):
        rows, _ = await pulled(connect(address, "1.1"))
    assert list(rows["person"]) == ["u1"]


async def test_a_page_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that is too long is cut off, so that memory is bounded."""
    monkeypatch.setattr("app.sis.oneroster_rest.wire.MAX_PAGE_BYTES", 10_000)
    body = {"users": [{"sourcedId": f"u{number}"} for number in range(2000)]}
    with answering(lambda request: Reply(body=body) if request.name == "users" else well(request)) as (
        address,
        _,
    ):
        with pytest.raises(SourceRefused, match="set a lower page-size"):
            await pulled(connect(address, "1.1"))


async def test_a_sort_that_is_refused_is_done_without() -> None:
    """If a source refuses the sort parameter, its pages are requested without it."""

    def answer(request: SisRequest) -> Reply:
        return Reply(400) if "sort" in request.query else well(request)

    with answering(answer) as (address, _):
        rows, warnings = await pulled(connect(address, "1.1"), datetime(2026, 1, 2, tzinfo=UTC))
    assert set(rows) >= {"person", "enrollment"}
    assert all("left out" in warning for warning in warnings)


async def test_no_name_reaches_a_log_or_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """If a pull fails in the middle, no log message of any level and no error contains a student's name."""
    rows = [{"sourcedId": f"u{number}", "givenName": "Canary", "password": "canary-word"} for number in range(3)]

    def answer(request: SisRequest) -> Reply:
        if request.name != "users":
            return well(request)
        if request.query["offset"] == "0":
            return Reply(body={"users": rows})
        return Reply(418, {"users": rows, "imsx_description": "Canary"})

    with caplog.at_level(logging.DEBUG), answering(answer) as (address, _):
        with pytest.raises(SourceRefused) as refused:
            await pulled(connect(address, "1.1"))
    assert "anary" not in f"{caplog.text} {refused.value.detail} {refused.value!r}"
    assert "of-a-test" not in caplog.text
    assert "opaque" not in caplog.text


async def test_ids_and_scopes_are_asked_for_as_the_standard_has_them() -> None:
    """With the setting `oauth2-body`, the client's id and secret are sent in the body of the token request.

    The requested scopes are those of the OneRoster version that is read.
    """
    with answering(well) as (address, requests):
        await pulled(connect(address, "1.2", auth="oauth2-body", leave_out=frozenset({"demographics"})))
    form = parse_qs(requests[0].body)
    assert form["grant_type"] == ["client_credentials"]
    assert (form["client_id"], form["client_secret"]) == (["north"], ["of-a-test"])
    assert "authorization" not in requests[0].headers
    scopes = [one.removeprefix("https://purl.imsglobal.org/spec/or/v1p2/scope/") for one in form["scope"][0].split()]
    assert sorted(scopes) == [
        "assessment.readonly",
        "gradebook-core.readonly",
        "gradebook.readonly",
        "roster-core.readonly",
        "roster.readonly",
    ]
    assert all(one.headers["authorization"] == "Bearer opaque" for one in requests[1:])


def test_the_gradebook_of_12_has_a_base_of_its_own() -> None:
    """The address of a 1.2 gradebook is derived from the rostering address, unless it is configured."""
    odd = connect("https://s.example.org/", "1.2", url="https://s.example.org/learningdata/v1/")
    assert connect("https://s.example.org/", "1.2").gradebook == "https://s.example.org/ims/oneroster/gradebook/v1p2"
    assert odd.gradebook == odd.rostering == "https://s.example.org/learningdata/v1"
    assert connect("https://s.example.org/", "1.1").gradebook == "https://s.example.org/ims/oneroster/v1p1"
    own: Connection = connect("https://s.example.org/", "1.2", gradebook_url="https://grades.example.org/v1/")
    assert own.gradebook == "https://grades.example.org/v1"

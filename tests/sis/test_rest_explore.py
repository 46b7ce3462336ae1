"""Tests the inspection of a source: its findings are true, come as sentences and as JSON, and name no person."""

import json
from collections.abc import Iterator

import pytest

from app.sis.oneroster_rest.connection import GRADES, PURL
from app.sis.oneroster_rest.explore import Findings, explore
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import behave, connect
from tests.sis.sandbox_sis import V12, running

CORE = f"{PURL['1.1']}roster-core.readonly"


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    """Runs a sandbox SIS for the tests of this file, and yields its address. Each test sets the quirks of the SIS."""
    with running("--students", "40") as address:
        yield address


def text_of(findings: Findings) -> str:
    """Returns the sentences of the findings as one text. Also checks that the facts can be written as JSON."""
    assert json.loads(json.dumps(findings.facts)) == findings.facts
    return " ".join(findings.sentences)


async def test_a_well_behaved_source_is_described(sis: str) -> None:
    """The findings about a well-behaved source describe its sign-in, addresses, collections, headers and deltas."""
    behave(sis, day=8)
    findings = await explore(connect(sis, "1.2"))
    text = text_of(findings)
    assert findings.ready
    assert findings.facts["token_auth"] == ["oauth2-basic", "oauth2-body"]
    assert findings.facts["settings"]["url"] == f"{sis}{V12}"
    assert findings.facts["collections"]["orgs"] == {"status": 200, "total": 4, "sampled": 4}
    assert findings.facts["headers"] == {"X-Total-Count": True, "Link": True, "a revision": False}
    assert findings.facts["page_cap"] is None
    assert findings.facts["delta"] is True
    assert findings.facts["tobedeleted"] is True
    assert "gradebook answers under /ims/oneroster/gradebook/v1p2" in text
    assert "A sync can read this source." in text


async def test_an_odd_source_is_found_out(sis: str) -> None:
    """For an unusual source, the inspection finds the settings that fit, and names what cannot be read.

    The source has another base URL, accepts only Basic authentication, returns at most 50 rows a page, states no
    totals, gives all rows the same time of change, and has no demographics.
    """
    odd = ["base:learningdata/v1", "token-basic", "clamp:50", "no-total", "modified-same", "missing:demographics"]
    behave(sis, *odd, "no-tombstones", day=8)
    findings = await explore(connect(sis, "1.2", auth="oauth2-body", token_url=None))
    text = text_of(findings)
    assert not findings.ready, "a sync uses what is set, and what is set leads nowhere"
    assert text.endswith("A sync cannot read this source as it is set.")
    settings = findings.facts["settings"]
    assert settings["auth"] == "oauth2-basic"
    assert settings["url"] == f"{sis}learningdata/v1"
    assert settings["token_url"] == f"{sis}oauth/token"
    assert (settings["page_size"], settings["leave_out"]) == (50, ["demographics"])
    assert (findings.facts["delta"], findings.facts["tobedeleted"]) == (False, False)
    assert "at most 50 rows" in text
    assert f"--url {sis}learningdata/v1 --token-url {sis}oauth/token --auth oauth2-basic" in text
    assert "Not readable: demographics." in text


async def test_a_gradebook_at_another_base_is_to_be_set(sis: str) -> None:
    """If the gradebook has another address than the settings imply, the findings name the option to set."""
    behave(sis, f"base:{V12}")
    findings = await explore(connect(sis, "1.2"))
    assert not findings.ready
    assert f"aimline sis set NAME --district DISTRICT --gradebook-url {sis}{V12}" in text_of(findings)
    assert (await explore(connect(sis, "1.2", gradebook_url=f"{sis}{V12}"))).ready
    assert (await explore(connect(sis, "1.2", leave_out=GRADES))).ready, "nobody wants its grades"


@pytest.mark.parametrize("signature", ["HMAC-SHA256", "HMAC-SHA1"])
async def test_a_way_to_sign_in_that_is_set_and_works_is_left(sis: str, signature: str) -> None:
    """If the configured sign-in works, the inspection keeps it, even if the source accepts others."""
    behave(sis)
    findings = await explore(connect(sis, "1.1", token_url=None, auth="oauth1", signature=signature))
    assert findings.ready, findings.sentences
    assert not [one for one in findings.sentences if "aimline sis set" in one or "token" in one]


async def test_a_source_that_only_signs_is_found_out(sis: str) -> None:
    """If a source has no token endpoint, the inspection tries both signatures of OAuth 1.0a."""
    behave(sis, "oauth1-only", "modified-null")
    assert not (await explore(connect(sis, "1.1", token_url=None))).ready, "as it is set, no sync would sign in"
    findings = await explore(connect(sis, "1.1", token_url=None, auth="oauth1"))
    assert findings.ready
    assert findings.facts["settings"]["auth"] == "oauth1"
    assert "signed with HMAC-SHA256" in text_of(findings)
    assert "finds nothing" in text_of(findings)


async def test_a_wrong_secret_is_told(sis: str) -> None:
    """A wrong secret is reported, and nothing more is requested."""
    behave(sis)
    findings = await explore(connect(sis, "1.2", client_secret="another"))
    assert not findings.ready
    assert "refuses the client (invalid_client)" in text_of(findings)
    assert "cannot read this source" in text_of(findings)


async def test_it_asks_with_get_only_and_tells_no_value() -> None:
    """An inspection sends only GET requests, except the request for a token.

    The findings contain no value from the source's rows or errors, and no scope that is unknown.
    """

    def answer(request: SisRequest) -> Reply:
        if request.name == "token":
            return Reply(body={"access_token": "opaque", "scope": f"{CORE} Canary {CORE}Canary"})
        if request.name == "results":
            return Reply(418, {"imsx_description": "Canary"})
        return Reply(body={request.name: [{"sourcedId": "canary-1", "givenName": "Canary", "name": "Canary"}]})

    with answering(answer) as (address, request):
        findings = await explore(connect(address, "1.1"))
    assert findings.facts["scopes"] == [CORE]
    assert {one.method for one in request if one.name != "token"} == {"GET"}
    assert "anary" not in f"{text_of(findings)} {findings.facts}"
    assert "of-a-test" not in f"{text_of(findings)} {findings.facts}"
    assert "filter by dateLastModified does nothing" in text_of(findings)

"""Tests that a webhook address in a private network is refused, in any spelling. No network is used."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.address import Allowed, is_public, validate_url
from app.core.errors import Invalid

SANDBOX = Allowed(sandbox=True)

INSIDE = [
    "0.0.0.0",  # noqa: S104  # an address to refuse, not one to listen on
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_inner_address_is_not_public(address: str) -> None:
    """Each address in the list of private networks is refused."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_public(address: str) -> None:
    """Public addresses are allowed."""
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_what_the_standard_library_calls_inner_is_refused(address: object) -> None:
    """Each address that `ipaddress` calls private, multicast, loopback or link-local is refused, except two."""
    assert isinstance(address, type(ip_address("::1")) | type(ip_address("127.0.0.1")))
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        exempt = ["192.0.0.9/32", "192.0.0.10/32"]
        assert not is_public(address) or any(address in ip_network(one) for one in exempt)


SPELLINGS = {
    "decimal": "https://2130706433/",
    "octal": "https://0177.0.0.1/",
    "hexadecimal": "https://0x7f.0.0.1/",
    "hexadecimal in one": "https://0x7f000001/",
    "short": "https://127.1/",
    "of three parts": "https://127.0.1/",
    "trailing dot": "https://127.0.0.1./",
    "full width": "https://\uff11\uff12\uff17.0.0.1/",
    "ideographic stops": "https://127\u30020\u30020\u30021/",
    "circled digits": "https://\u2460\u2461\u2466.0.0.1/",
    "IPv6": "https://[::1]/",
    "IPv4 in IPv6": "https://[::ffff:127.0.0.1]/",
    "IPv4 in IPv6, hexadecimal": "https://[::ffff:7f00:1]/",
    "NAT64": "https://[64:ff9b::127.0.0.1]/",
    "6to4": "https://[2002:7f00:1::]/",
    "localhost": "https://localhost/",
    "localhost, trailing dot": "https://LOCALHOST./",
    "under localhost": "https://a.localhost/",
    "metadata": "https://169.254.169.254/latest/meta-data",
}


@pytest.mark.parametrize("url", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_an_odd_spelling_of_an_inner_address_is_refused(url: str) -> None:
    """A private address is refused in each unusual spelling that a resolver could understand."""
    with pytest.raises(Invalid) as refused:
        validate_url(url)
    assert [violation.code for violation in refused.value.violations] == ["url.address"]


REFUSED = {
    "url.scheme": ["http://example.org/", "ftp://example.org/", "//example.org/"],
    "url.user_info": ["https://user@example.org/", "https://user:word@example.org/", "https://@example.org/"],
    "url.port": ["https://example.org:22/", "https://example.org:25/", "https://example.org:80/", "https://a.org:0/"],
    "url.fragment": ["https://example.org/#part"],
    "url.malformed": [
        "https://",
        "https:///path",
        "file:///etc/passwd",
        "example.org",
        "",
        "https://example.org/\u2028",
        "https://example.org:99999/",
        "https://example.org:port/",
        "https://exa mple.org/",
        "https://example.org\\@10.0.0.1/",
        "https://example.org/\r\nHost: other",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://1.2.3.4.5/",
        "https://256.256.256.256/",
        "https://0x100000000/",
        "https://1.2.3.08/",
        "https://-a.org/",
        "https://a..org/",
        f"https://{'a' * 64}.org/",
        f"https://example.org/{'a' * 2048}",
    ],
}


@pytest.mark.parametrize(("code", "url"), [(code, url) for code, urls in REFUSED.items() for url in urls])
def test_what_is_no_fit_url_is_refused_with_its_code(code: str, url: str) -> None:
    """An invalid URL is refused with the code of its fault, such as its scheme, its port, or an ambiguous part."""
    with pytest.raises(Invalid) as refused:
        validate_url(url)
    assert code in {violation.code for violation in refused.value.violations}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.org", "https://example.org/"),
        ("HTTPS://Example.ORG:443/Hooks?a=B", "https://example.org/Hooks?a=B"),
        ("https://example.org.:8443/", "https://example.org:8443/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://134744072/", "https://8.8.8.8/"),
        ("https://[2606:4700:0:0::1111]/", "https://[2606:4700::1111]/"),
    ],
)
def test_a_fit_url_is_kept_in_one_spelling(url: str, kept: str) -> None:
    """A valid URL is stored in one spelling, which stays the same when it is read again."""
    assert validate_url(url) == kept
    assert validate_url(kept) == kept


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    """The check of a webhook's URL accepts or refuses any text, without an internal error.

    An accepted URL stays the same if it is validated again.
    """
    for url in (text, f"https://{text}", f"https://example.org/{text}"):
        try:
            kept = validate_url(url)
        except Invalid:
            continue
        assert validate_url(kept) == kept


def test_a_sandbox_opens_loopback_only() -> None:
    """An installation marked as sandbox may send webhooks to loopback, also by plain HTTP, and to no other private
    network.
    """
    assert validate_url("http://127.0.0.1:8123/x", SANDBOX) == "http://127.0.0.1:8123/x"
    assert validate_url("http://localhost:8123/", SANDBOX) == "http://localhost:8123/"
    for url in ("http://10.0.0.1/", "https://10.0.0.1/", "http://example.org/", "https://[::ffff:127.0.0.1]/"):
        with pytest.raises(Invalid):
            validate_url(url, SANDBOX)


def test_an_operator_opens_a_network() -> None:
    """An address in a network that the operator has allowed is accepted, over HTTPS only."""
    allowed = Allowed.parse("10.1.0.0/16, fd12::/32", "AIMLINE_WEBHOOK_ALLOW_NETWORKS")
    assert allowed.reaches(ip_address("10.1.2.3"))
    assert allowed.reaches(ip_address("fd12::1"))
    assert not allowed.reaches(ip_address("10.2.0.1"))
    assert not allowed.reaches(ip_address("127.0.0.1"))
    assert validate_url("https://10.1.2.3/", allowed) == "https://10.1.2.3/"
    with pytest.raises(Invalid):
        validate_url("http://10.1.2.3/", allowed)
    with pytest.raises(ValueError, match=r"AIMLINE_SIS_ALLOW_NETWORKS: 'office' is not a network"):
        Allowed.parse("10.1.0.0/16,office", "AIMLINE_SIS_ALLOW_NETWORKS")


def test_a_private_network_is_one_that_the_operator_opened() -> None:
    """`opens_private` is true only for a private address in a network that the operator has allowed."""
    allowed = Allowed.parse("10.1.0.0/16, 8.8.8.0/24, fd12::/32", "", sandbox=True)
    private = {"10.1.2.3": True, "fd12::1": True, "8.8.8.8": False, "9.9.9.9": False, "127.0.0.1": False, "::1": False}
    assert {text: allowed.opens_private(ip_address(text)) for text in private} == private
    assert Allowed.parse("127.0.0.0/8", "", sandbox=True).opens_private(ip_address("127.0.0.1"))
    assert not Allowed().opens_private(ip_address("10.1.2.3"))

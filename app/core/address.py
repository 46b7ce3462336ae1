"""Checks the network addresses that the service connects to on behalf of others, such as a webhook's URL.

A URL is checked when it is saved, and the address that its host resolves to is checked again at every connection. The
functions are pure: they neither resolve names nor open connections.
"""

import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NoReturn, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from app.core.errors import Invalid, Violation

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_LENGTH = 2048
FIRST_OPEN_PORT = 1024
"""The lowest port that a URL may contain. The exceptions are port 443, and port 80 on loopback.

Lower ports serve other protocols, such as mail, DNS and remote shells.
"""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

DENIED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's inner services on a public address
        "169.254.0.0/16",  # link-local, the clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
GLOBAL_V6 = IPv6Network("2000::/3")
"""The only IPv6 block with public addresses. Loopback, IPv4-mapped, NAT64 (64:ff9b::/96), unique local, link-local,
multicast and unassigned addresses are outside it.
"""
DENIED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The networks that an operator allows in addition to the public Internet.

    In a sandbox, loopback is allowed too, also over plain HTTP. `setting` is the name of the environment variable that
    lists the networks. The error for a refused address states this name.
    """

    networks: tuple[Network, ...] = ()
    sandbox: bool = False
    setting: str = ""

    @classmethod
    def parse(cls, networks: str, setting: str, *, sandbox: bool = False) -> Self:
        """Parses the comma-separated networks of a setting; raises `ValueError` for an entry that is not a network."""
        parsed = []
        for entry in filter(None, (part.strip() for part in networks.split(","))):
            try:
                parsed.append(ip_network(entry))
            except ValueError:
                raise ValueError(f"{setting}: {entry!r} is not a network such as 10.1.0.0/16.") from None
        return cls(tuple(parsed), sandbox, setting)

    @property
    def refusal(self) -> str:
        """Returns the sentence that tells a caller that an address is not allowed, and which setting may allow it."""
        how = f" An operator may allow its network: {self.setting}." if self.setting else ""
        return f"This address is not on the public Internet.{how}"

    def reaches(self, address: Address) -> bool:
        """Returns whether a connection to this address is allowed."""
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return False
        networks = self.networks + (LOOPBACK if self.sandbox else ())
        return is_public(address) or any(address in network for network in networks)

    def opens_private(self, address: Address) -> bool:
        """Returns whether an address is private and in the list of networks that the operator allows.

        The result is False for a loopback address in a sandbox, which `reaches` allows without the list.
        """
        return not is_public(address) and any(address in network for network in self.networks)


PUBLIC_ONLY = Allowed()


def is_public(address: Address) -> bool:
    """Returns whether the address belongs to the public Internet.

    Uses a complete deny-list, because the standard library's `is_global` misses some networks.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in DENIED_V4)
    return address in GLOBAL_V6 and not any(address in network for network in DENIED_V6)


def validate_url(url: str, allowed: Allowed = PUBLIC_ONLY, pointer: str = "/url") -> str:
    """Returns the URL in its normalized spelling; raises `Invalid` with every violation.

    Does not resolve host names.
    """
    if len(url) > MAX_LENGTH or any(_is_forbidden(character) for character in url):
        _refuse(pointer, "url.malformed", f"A URL contains no spaces and at most {MAX_LENGTH} characters.")
    parts, port, host = _split(url, pointer)
    literal = host if not isinstance(host, str) else None
    is_loopback = literal in LOOPBACK[0] or literal in LOOPBACK[1] if literal else _is_localhost(host)
    is_plain_allowed = parts.scheme == "http" and allowed.sandbox and is_loopback
    violations = []
    if parts.scheme != "https" and not is_plain_allowed:
        violations.append(Violation(pointer, "url.scheme", "Only https is accepted."))
    if "@" in parts.netloc:
        violations.append(Violation(pointer, "url.user_info", "A URL must not contain a user name or a password."))
    if parts.fragment:
        violations.append(Violation(pointer, "url.fragment", "A URL must not contain a fragment (#…)."))
    if port is not None and port < FIRST_OPEN_PORT and port != 443 and not (is_plain_allowed and port == 80):
        violations.append(Violation(pointer, "url.port", f"The port must be 443, or {FIRST_OPEN_PORT} or above."))
    if (literal and not allowed.reaches(literal)) or (not literal and is_loopback and not allowed.sandbox):
        violations.append(Violation(pointer, "url.address", allowed.refusal))
    if violations:
        raise Invalid(violations)
    host_text = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    netloc = host_text if port is None or port == _DEFAULT_PORT[parts.scheme] else f"{host_text}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


_DEFAULT_PORT = {"https": 443, "http": 80}


def _split(url: str, pointer: str) -> tuple[SplitResult, int | None, Address | str]:
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError:
        _refuse(pointer, "url.malformed", "This is not a URL such as https://example.org/hooks.")
    return parts, port, host


def _host(text: str) -> Address | str:
    """Returns the host of a URL in its normalized spelling: an IP address, or a host name in ASCII.

    Raises `ValueError` for a host that is neither.
    """
    if ":" in text:
        if "%" in text:
            raise ValueError("zone")
        return IPv6Address(text)
    if "%" in text:
        raise ValueError("escaped")
    name = unicodedata.normalize("NFKC", text).replace("\u3002", ".").lower()
    name = name.removesuffix(".").encode("idna").decode("ascii").lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_is_label(label) for label in labels):
        raise ValueError("name")
    return _loose_ipv4(labels) if _is_number(labels[-1]) else name


def _is_forbidden(character: str) -> bool:
    return not character.isprintable() or character in ' \\"<>^`{|}'


def _is_label(label: str) -> bool:
    has_valid_characters = label.replace("-", "").replace("_", "").isalnum() and label.isascii()
    return has_valid_characters and len(label) <= 63 and not label.startswith("-") and not label.endswith("-")


def _is_number(label: str) -> bool:
    return label.isdigit() or label.startswith("0x")


def _loose_ipv4(labels: list[str]) -> IPv4Address:
    """Returns the IPv4 address that a browser would derive from a host name. `labels` are the parts of the name.

    A browser also accepts octal, hexadecimal and shortened spellings, such as `0x7f.1` for 127.0.0.1. Raises
    `ValueError` if the parts are not an address.
    """
    numbers = [_number(label) for label in labels]
    if len(numbers) > 4 or any(number > 255 for number in numbers[:-1]):
        raise ValueError("address")
    if numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError("address")
    value = numbers[-1] + sum(number << 8 * (3 - place) for place, number in enumerate(numbers[:-1]))
    return IPv4Address(value)


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") and len(label) > 1 else int(label)


def _is_localhost(host: object) -> bool:
    return isinstance(host, str) and (host == "localhost" or host.endswith(".localhost"))


def _refuse(pointer: str, code: str, detail: str) -> NoReturn:
    raise Invalid([Violation(pointer, code, detail)])


def parse_address(text: str) -> Address:
    """Parses an IP address that a DNS resolver returned."""
    return ip_address(text)

"""Owns who a request counts for before any work begins: its district and client, or its address. Opens no session.

Requests with a token share the process by district, and within it by client; those without one are a class of their
own, shared by address. The quotas are of one process: the policy divided by the number of processes.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Self
from uuid import UUID

from app.access.authenticate import OAuthError, Tokens
from app.core.errors import Throttled, Unauthenticated
from app.core.fairness.gate import Gate
from app.core.fairness.quota import Policy, Quotas, Standing

MINUTE = 60
OF_ADDRESS = Policy("address", 6_000, MINUTE)
"""Requests without a valid token, by address."""
TOKEN_REQUESTS = Policy("token", 600, MINUTE)
"""Requests for an access token, by address: of all the clients behind it."""
TOKEN_FAILURES = Policy("token-failures", 20, MINUTE)
"""Refused secrets of one client from one address. Never of a client alone: a stranger could lock it out."""
NOBODY = "nobody"
"""The class of all requests without a valid token."""
LONGEST_CLIENT_ID = 100


@dataclass(frozen=True, slots=True)
class Requester:
    """Whom a request counts for: `key` has a share of the process, and its flows take turns."""

    key: Hashable
    flow: Hashable
    district_id: UUID | None = None


class RateLimited(Throttled):
    """A quota is used up; `standings` are those of all policies that were counted."""

    def __init__(self, standings: tuple[Standing, ...]) -> None:
        used_up = [one for one in standings if not one.is_allowed]
        names = " and ".join(f'"{one.policy.name}"' for one in used_up)
        detail = f"The quota {names} is used up. Wait for as long as Retry-After says."
        super().__init__(detail, max(one.reset for one in used_up))
        self.standings = standings


class Admission:
    """Identifies requests and counts them; `gate` then says when each may run."""

    def __init__(self, tokens: Tokens, gate: Gate, of_district: Policy, of_client: Policy, processes: int = 1) -> None:
        self.gate = gate
        self._tokens = tokens
        self._of_district = Quotas(of_district.divided(processes))
        self._of_client = Quotas(of_client.divided(processes))
        self._of_address = Quotas(OF_ADDRESS.divided(processes))

    def identify(self, token: str | None, address: str | None) -> Requester:
        """Returns whom a request with this token counts for; without a valid one, its network."""
        if token:
            try:
                principal = self._tokens.read(token)
            except Unauthenticated:
                pass
            else:
                return Requester(principal.district_id, principal.client_id, principal.district_id)
        return Requester(NOBODY, network_of(address))

    def count(self, requester: Requester) -> tuple[Standing, ...]:
        """Counts a request in each of its policies; raises `RateLimited` where one is used up, and counts in none."""
        if requester.district_id is None:
            counted: tuple[Standing, ...] = (self._of_address.take(requester.flow),)
        else:
            # A client that serves several districts has a quota in each: one of them must not use up another's.
            client = (requester.district_id, requester.flow)
            of_client, of_district = self._of_client.take(client), self._of_district.take(requester.district_id)
            if of_client.is_allowed and not of_district.is_allowed:
                self._of_client.give_back(client)
            if of_district.is_allowed and not of_client.is_allowed:
                self._of_district.give_back(requester.district_id)
            counted = (of_client, of_district)
        if not all(one.is_allowed for one in counted):
            raise RateLimited(counted)
        return counted


class TokenAttempts:
    """Limits requests for tokens by address, and refused secrets by client and address."""

    def __init__(self, processes: int = 1) -> None:
        self._requests = Quotas(TOKEN_REQUESTS.divided(processes))
        self._failures = Quotas(TOKEN_FAILURES.divided(processes))

    def begin(self, client_id: str | None, address: str | None) -> "TokenAttempt":
        """Returns an attempt, counted as failed until it is known to be none; raises `RateLimited`."""
        network = network_of(address)
        requests = self._requests.take(network)
        if not requests.is_allowed:
            raise RateLimited((requests,))
        key = (client_id if client_id and len(client_id) <= LONGEST_CLIENT_ID else None, network)
        failures = self._failures.take(key)
        if not failures.is_allowed:
            raise RateLimited((failures,))
        return TokenAttempt(self._failures, key)


@dataclass(frozen=True, slots=True)
class TokenAttempt:
    """One request for a token: whatever ends it but a refused secret is not counted as a failure."""

    failures: Quotas
    key: Hashable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if not (isinstance(error, OAuthError) and error.code == "invalid_client"):
            self.failures.give_back(self.key)


def network_of(address: str | None) -> str:
    """Returns the network that an address counts for: an IPv4 address itself, the /64 of an IPv6 address."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
        parsed = parsed.ipv4_mapped
    return str(parsed)

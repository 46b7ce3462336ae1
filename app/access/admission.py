"""Identifies the sender of a request, and counts the request in the sender's quotas, before any other work begins.

When more requests arrive than a process can run at once, the districts take turns, and within a district its clients
take turns. All requests without a valid token are treated as one more district, in which the network addresses take
turns.

Processes do not share their counts. Each process therefore enforces only its part of a quota: the quota divided by the
number of processes.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Any, Self, TypeVar
from uuid import UUID

from app.access.authenticate import OAuthError, Tokens
from app.core.errors import Throttled, Unauthenticated
from app.core.fairness.gate import Gate
from app.core.fairness.pace import pace_tasks, paced
from app.core.fairness.quota import Policy, Quotas, QuotaState

T = TypeVar("T")
MINUTE = 60
ADDRESS_REQUESTS = Policy("address", 6_000, MINUTE)
"""The quota of requests without a valid token, for each address."""
TOKEN_REQUESTS = Policy("token", 600, MINUTE)
"""The quota of requests for an access token, for each address; all clients behind an address share it."""
TOKEN_FAILURES = Policy("token-failures", 20, MINUTE)
"""The quota of requests with a wrong client secret, for each pair of a client and an address.

Counting by client alone would let a stranger lock the client out.
"""
NOBODY = "nobody"
"""The key in fair queuing that all requests without a valid token share."""
MAX_CLIENT_ID_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Requester:
    """The sender of a request, for the quotas and for the queue of requests that wait to run.

    `key` is the sender's district, and `flow` is the client within the district. For a request without a valid token,
    `key` is `NOBODY` and `flow` is the network address. When requests wait, the keys take turns. Within a key, its
    flows take turns.
    """

    key: Hashable
    flow: Hashable
    district_id: UUID | None = None


class RateLimited(Throttled):
    """Raised when a quota is used up; `standings` has the state of every quota that applies to the request."""

    def __init__(self, standings: tuple[QuotaState, ...]) -> None:
        used_up = [state for state in standings if not state.is_allowed]
        names = " and ".join(f'"{state.policy.name}"' for state in used_up)
        detail = f"The quota {names} is used up. Wait for as long as Retry-After says."
        super().__init__(detail, max(state.reset for state in used_up))
        self.standings = standings


class Admission:
    """Identifies the sender of each request and counts the request in its quotas.

    Its `gate` then decides when the request may run.
    """

    def __init__(self, tokens: Tokens, gate: Gate, of_district: Policy, of_client: Policy, processes: int = 1) -> None:
        self.gate = gate
        self._tokens = tokens
        self._of_district = Quotas(of_district.divided(processes))
        self._of_client = Quotas(of_client.divided(processes))
        self._of_address = Quotas(ADDRESS_REQUESTS.divided(processes))

    def identify(self, token: str | None, address: str | None) -> Requester:
        """Returns the sender of a request: the token's client or, without a valid token, the network of the address.

        An invalid token is no error here.
        """
        if token:
            try:
                principal = self._tokens.read(token)
            except Unauthenticated:
                pass
            else:
                return Requester(principal.district_id, principal.client_id, principal.district_id)
        return Requester(NOBODY, network_of(address))

    def client_of(self, token: str | None) -> UUID | None:
        """Returns the id of the client of a valid token, or None."""
        flow = self.identify(token, None).flow
        return flow if isinstance(flow, UUID) else None

    def count(self, requester: Requester) -> tuple[QuotaState, ...]:
        """Counts a request in each quota that applies to it, and returns the states of these quotas.

        If one of the quotas is used up, raises `RateLimited` and counts nothing.
        """
        if requester.district_id is None:
            counted: tuple[QuotaState, ...] = (self._of_address.take(requester.flow),)
        else:
            # A client that serves several districts has a quota in each of them, so that one district cannot use up
            # another's.
            client = (requester.district_id, requester.flow)
            of_client, of_district = self._of_client.take(client), self._of_district.take(requester.district_id)
            if of_client.is_allowed and not of_district.is_allowed:
                self._of_client.give_back(client)
            if of_district.is_allowed and not of_client.is_allowed:
                self._of_district.give_back(requester.district_id)
            counted = (of_client, of_district)
        if not all(state.is_allowed for state in counted):
            raise RateLimited(counted)
        return counted

    def give_back(self, requester: Requester, counted: tuple[QuotaState, ...]) -> tuple[QuotaState, ...]:
        """Removes a request from the quotas in which it was counted.

        Returns the states `counted`, each with one more request remaining.
        """
        if requester.district_id is None:
            self._of_address.give_back(requester.flow)
        else:
            self._of_client.give_back((requester.district_id, requester.flow))
            self._of_district.give_back(requester.district_id)
        return tuple(replace(state, remaining=state.remaining + 1) for state in counted)

    async def run_in_turn(self, requester: Requester, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Waits until it is the requester's turn, then runs `work` and returns its result.

        A stream calls this method for each part of its work, such as one event. Each part then waits for its turn, as a
        request does. Raises `Overloaded` after too long a wait.
        """
        turn = self.gate.enqueue(requester.key, requester.flow)
        try:
            if not turn.may_run:
                await self.gate.wait(turn)
            pace_tasks(asyncio.get_running_loop())
            return await paced(work(), turn)
        finally:
            self.gate.leave(turn)


class TokenAttempts:
    """Limits how many tokens an address may request, and how often a client may send a wrong secret from an address."""

    def __init__(self, processes: int = 1) -> None:
        self._requests = Quotas(TOKEN_REQUESTS.divided(processes))
        self._failures = Quotas(TOKEN_FAILURES.divided(processes))

    def begin(self, client_id: str | None, address: str | None) -> "TokenAttempt":
        """Starts an attempt to get a token and returns it; raises `RateLimited` if a quota is used up.

        The attempt is counted as a failure while it runs. It stays counted only if the secret was wrong (see
        `TokenAttempt`).
        """
        network = network_of(address)
        requests = self._requests.take(network)
        if not requests.is_allowed:
            raise RateLimited((requests,))
        key = (client_id if client_id and len(client_id) <= MAX_CLIENT_ID_LENGTH else None, network)
        failures = self._failures.take(key)
        if not failures.is_allowed:
            raise RateLimited((failures,))
        return TokenAttempt(self._failures, key)


@dataclass(frozen=True, slots=True)
class TokenAttempt:
    """One token request, used as a context manager.

    The request is counted as a failure while it runs, and stays counted only if the secret was wrong.
    """

    failures: Quotas
    key: Hashable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if not (isinstance(error, OAuthError) and error.code == "invalid_client"):
            self.failures.give_back(self.key)


def network_of(address: str | None) -> str:
    """Returns the network under which an address is counted: an IPv4 address itself, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
        parsed = parsed.ipv4_mapped
    return str(parsed)

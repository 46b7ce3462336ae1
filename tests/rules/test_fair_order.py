"""Tests weighted fair queuing: no request waits while a slot is free, and each key gets its share."""

from collections import Counter
from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.fairness.order import KEYS_BEFORE_PRUNING, FairOrder, Ticket

MANY = 1000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "take", "leave", "settle"]),
        st.integers(0, 3),
        st.integers(0, 2),
        st.floats(0, 5, allow_nan=False),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_request_waits_only_where_its_key_has_enough_in_service(
    steps: list[tuple[str, int, int, float]],
) -> None:
    """Checks that a request waits only while two requests with the same key are running.

    This must hold after any sequence of requests that join, start, end, are cancelled or cost more than expected.
    """
    order, waiting, serving = FairOrder(), list[Ticket](), list[Ticket]()
    for step, key, flow, cost in steps:
        if step == "join":
            waiting.append(order.join(key, flow, weight=1 + key))
        elif step == "take":
            ticket = order.take(2)
            of_key = Counter(one.key for one in serving)
            if ticket is None:
                assert all(of_key[one.key] >= 2 for one in waiting)
            else:
                assert of_key[ticket.key] < 2
                waiting.remove(ticket)
                serving.append(ticket)
        elif step == "settle" and serving:
            order.correct_charge(serving[flow % len(serving)], cost)
        elif step == "leave" and waiting + serving:
            ticket = (waiting + serving)[key % len(waiting + serving)]
            (waiting if ticket.is_waiting else serving).remove(ticket)
            order.leave(ticket)
            order.leave(ticket)
        assert (order.waiting, order.in_service) == (len(waiting), len(serving))
    for ticket in waiting + serving:
        order.leave(ticket)
    assert (order.waiting, order.in_service, order.keys) == (0, 0, 0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.001, 1.0), min_size=60, max_size=60),
    st.lists(st.floats(0.001, 1.0), min_size=60, max_size=60),
    st.sampled_from([(1.0, 1.0), (2.0, 1.0), (1.0, 4.0)]),
    st.integers(1, 4),
)
def test_keys_that_always_have_requests_are_served_by_their_weights(
    ours: list[float], theirs: list[float], weights: tuple[float, float], slots: int
) -> None:
    """Two keys that always have waiting requests are served in proportion to their weights, whatever their requests
    cost.

    The difference is at most the cost of a few of the longest requests.
    """
    order = FairOrder()
    costs = {"a": iter(ours), "b": iter(theirs)}
    weight = dict(zip("ab", weights, strict=True))
    served = {"a": 0.0, "b": 0.0}
    for _ in range(60):
        for key in "ab":
            order.join(key, weight=weight[key])
    under_way: list[tuple[float, Ticket, float]] = []
    now = 0.0
    while min(order.waiting_of("a"), order.waiting_of("b")):
        while len(under_way) < slots and (ticket := order.take(MANY)):
            cost = next(costs[str(ticket.key)])
            under_way.append((now + cost, ticket, cost))
        now, ticket, cost = min(under_way, key=lambda one: one[0])
        under_way.remove((now, ticket, cost))
        order.correct_charge(ticket, cost)
        order.leave(ticket)
        served[str(ticket.key)] += cost
    bound = (slots + 1) * (1 / weights[0] + 1 / weights[1])
    assert abs(served["a"] / weights[0] - served["b"] / weights[1]) <= bound


def test_a_newcomer_is_served_before_those_who_have_been_served() -> None:
    """If a hundred requests of one key wait and a request of another key arrives, this new request is served next."""
    order = FairOrder()
    for _ in range(100):
        order.join("a")
    for _ in range(10):
        ticket = order.take(MANY)
        assert ticket is not None
        order.correct_charge(ticket, 0.5)
        order.leave(ticket)
    order.join("b")
    first, second = order.take(MANY), order.take(MANY)
    assert first is not None
    assert second is not None
    assert (first.key, second.key) == ("b", "a")


def test_a_key_that_was_away_has_saved_nothing_up() -> None:
    """A key without requests gathers no credit for later."""
    order = FairOrder()
    for _ in range(50):
        order.join("a")
    for _ in range(30):
        ticket = order.take(MANY)
        assert ticket is not None
        order.correct_charge(ticket, 1.0)
        order.leave(ticket)
    for _ in range(50):
        order.join("b")
    taken = Counter[Hashable]()
    for _ in range(10):
        ticket = order.take(MANY)
        assert ticket is not None
        taken[ticket.key] += 1
        order.correct_charge(ticket, 1.0)
        order.leave(ticket)
    assert abs(taken["a"] - taken["b"]) <= 2


def test_the_flows_of_a_key_take_turns() -> None:
    """The waiting requests of one client do not delay another client of the same district."""
    order = FairOrder()
    for flow in ("loud", "loud", "loud", "quiet"):
        order.join("district", flow)
    taken = [order.take(MANY) for _ in range(4)]
    assert [one.flow for one in taken if one] == ["loud", "quiet", "loud", "loud"]


def test_keys_are_forgotten_while_others_are_served() -> None:
    """Keys without requests are forgotten, so that memory is bounded."""
    order = FairOrder()
    for _ in range(3):
        order.join("busy")
    order.take(MANY)
    for number in range(5 * KEYS_BEFORE_PRUNING):
        order.leave(order.join(number))
    assert order.keys <= KEYS_BEFORE_PRUNING + 1

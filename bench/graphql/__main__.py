"""Compares the speed of GraphQL reads with that of PostGraphile 5, on the same database, role, settings and rows.

Both servers write the disclosure log. They take turns within each round.

`python -m bench.graphql [--seconds 8] [--rounds 3] [--postgraphile FOLDER]`.
"""

import argparse
import asyncio
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.access.permission import GRANTABLE
from app.access.principal import Reach
from app.core import ids
from app.settings import Settings
from bench.graphql.district import Made, make_district
from bench.graphql.peer import folder, running
from bench.noisy.districts import serving, token_of
from bench.noisy.load import Call, closed_loop
from bench.server import migrated

NAMES = ("nested", "first 100", "tiny")
OURS = {
    "nested": """{ students(first: 100) { edges { node { id givenName familyName
        concerns { id state description raisedOn } supports { id state intervention startsOn }
        scores { id takenOn value } } } } }""",
    "first 100": "{ students(first: 100) { edges { node { id givenName familyName grades email } } } }",
    "tiny": '{ student(id: "%s") { givenName } }',
}
ORDER = "first: 100, orderBy: [FAMILY_NAME_ASC, GIVEN_NAME_ASC, ROW_ID_ASC]"
PEERS = {
    "nested": f"""{{ allPeople({ORDER}) {{ edges {{ node {{ rowId givenName familyName
        concernsByDistrictIdAndStudentId {{ nodes {{ rowId state description raisedOn }} }}
        supportsByDistrictIdAndStudentId {{ nodes {{ rowId state intervention startsOn }} }}
        scoresByDistrictIdAndStudentId {{ nodes {{ rowId takenOn value }} }} }} }} }} }}""",
    "first 100": f"{{ allPeople({ORDER}) {{ edges {{ node {{ rowId givenName familyName grades email }} }} }} }}",
    "tiny": '{ personByDistrictIdAndRowId(districtId: "%s", rowId: "%s") { givenName } }',
}
DISCLOSED = {"nested": 100, "first 100": 100, "tiny": 1}
CONNECTIONS = (1, 8)
Key = tuple[str, str, int]


async def _rate(call: Call, connections: int, seconds: float) -> float:
    """Returns how many calls are answered per second over this number of connections."""
    await closed_loop(call, connections, min(1.5, seconds))
    return len(await closed_loop(call, connections, seconds)) / seconds


def _measure(settings: Settings, made: Made, base_url: str, place: Path, seconds: float, rounds: int) -> None:
    token = token_of(settings, made.district_id, base_url, tuple(sorted(can.value for can in GRANTABLE)))
    teacher = ids.format_id("person", made.teacher_id)
    student = made.student_ids[0]
    rates: defaultdict[Key, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name in NAMES:
            query = OURS[name] % ids.format_id("student", student) if name == "tiny" else OURS[name]
            calls = {
                "ours, district": Call(base_url, token, "/graphql", query),
                "ours, caseload": Call(base_url, token, "/graphql", query, teacher),
            }
            with _peer(settings, made, place, name) as address:
                peer = PEERS[name] % (made.district_id, student) if name == "tiny" else PEERS[name]
                calls["PostGraphile, district"] = Call(address, "", "/graphql", peer)
                for connections in CONNECTIONS:
                    for who, call in calls.items():
                        rates[name, who, connections].append(asyncio.run(_rate(call, connections, seconds)))
    _print({key: statistics.median(measured) for key, measured in rates.items()})


@contextmanager
def _peer(settings: Settings, made: Made, place: Path, name: str) -> Iterator[str]:
    with running(settings, made, place, Reach.DISTRICT, DISCLOSED[name]) as address:
        yield address


def _print(rates: dict[Key, float]) -> None:
    print("| query | connections | PostGraphile, a second | ours, a second | ratio | caseload: × the time |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in NAMES:
        for connections in CONNECTIONS:
            peer, ours, caseload = (
                rates[name, who, connections] for who in ("PostGraphile, district", "ours, district", "ours, caseload")
            )
            cells = f"{peer:.1f} | {ours:.1f} | {ours / peer:.2f} | {ours / caseload:.2f}"
            print(f"| {name} | {connections} | {cells} |")
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(prog="bench.graphql", description="Measure GraphQL against PostGraphile 5.")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of each measurement (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median is taken (3)")
    parser.add_argument("--postgraphile", type=Path, help="a folder for PostGraphile, kept for the next run")
    parsed = parser.parse_args()
    quotas = {"district_requests": 10_000_000, "client_requests": 10_000_000}
    with migrated(sandbox=True, **quotas) as settings, folder(parsed.postgraphile) as place:
        made = asyncio.run(make_district(settings))
        with serving(settings) as base_url:
            _measure(settings, made, base_url, place, parsed.seconds, parsed.rounds)


if __name__ == "__main__":
    main()

"""Tests that a value of another JSON type is refused, and that a parameter with one value may not be repeated."""

from typing import Any

from fastapi import FastAPI

from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_knows import OPEN

NO_DAYS = ["2026-01-05T00:00:00+02:00", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00", 1767571200, "1767571200", True]
WRONG: dict[str, list[Any]] = {
    "date": NO_DAYS,
    "date-time": [1767571200, True],
    "integer": ["3", True, 2.5],
    "number": ["3", True],
    "boolean": ["true", 1, 0],
    "string": [3, True],
}


def _type_of(schema: dict[str, Any]) -> str:
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return str(kinds[0].get("format", kinds[0].get("type"))) if len(kinds) == 1 and "enum" not in kinds[0] else ""


def _fields(operation: Operation) -> list[tuple[str, str]]:
    properties = (operation.body or {}).get("properties", {})
    return [(name, kind) for name, schema in properties.items() if (kind := _type_of(schema)) in WRONG]


async def test_a_value_of_another_type_is_refused(app: FastAPI, read_district: FullDistrict) -> None:
    """A value of another type is refused: an instant as a day, a number as a day, a text as a number, `1` as true."""
    north = caller(app, read_district.town)
    tried = 0
    for operation in operations(app):
        if operation.name in OPEN or operation.body is None:
            continue
        request = own_request(operation, read_district)
        headers = {"If-Match": "*"} if operation.method == "PATCH" else {}
        fields = [(name, WRONG[kind]) for name, kind in _fields(operation)]
        # Values of a wrong type are refused independently: each request has one in every field.
        for number in range(max((len(values) for _, values in fields), default=0)):
            wrong = {name: values[number] for name, values in fields if number < len(values)}
            answer = await north.ask(operation.method, request.path, json={**request.json, **wrong}, headers=headers)
            assert answer.status_code == 422, (operation.name, wrong, answer.text)
            pointers = {one["pointer"] for one in answer.json()["violations"]}
            assert {f"/{name}" for name in wrong} <= pointers, (operation.name, wrong)
            tried += len(wrong)
    assert tried > 300


async def test_a_filter_by_day_takes_a_day_only(app: FastAPI, read_district: FullDistrict) -> None:
    """A filter by day refuses an instant, which would begin the list on another day than the caller meant."""
    north = caller(app, read_district.town)
    filters = 0
    for operation in operations(app):
        for parameter in operation.parameters:
            if parameter["in"] == "query" and _type_of(parameter["schema"]) == "date":
                path = own_request(operation, read_district).path
                for value in NO_DAYS:
                    answer = await north.get(path, **{parameter["name"]: str(value)})
                    assert answer.status_code == 400, (operation.name, parameter["name"], value, answer.text)
                filters += 1
    assert filters >= 6


async def test_a_repeated_parameter_is_refused(app: FastAPI, read_district: FullDistrict) -> None:
    """A repeated parameter is refused unless it is a list, because one value would be ignored silently."""
    north = caller(app, read_district.town)
    for operation in operations(app):
        if operation.name in OPEN or not operation.reads:
            continue
        path = own_request(operation, read_district).path
        for parameter in operation.parameters:
            if parameter["in"] != "query":
                continue
            name = parameter["name"]
            kinds = {one.get("type") for one in parameter["schema"].get("anyOf", [parameter["schema"]])}
            answer = await north.ask("GET", f"{path}?{name}=1&{name}=2")
            codes = {one["code"] for one in answer.json().get("violations", ())}
            assert ("parameter.repeated" in codes) == ("array" not in kinds), (operation.name, name, answer.text)

"""Tests that a JSON row becomes the cells of the CSV binding, in whatever form a source gives its fields. Uses no
database and no network.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sis.kinds import BY_NAME, KINDS
from app.sis.oneroster_rest.spool import DiskBudget, Spool
from app.sis.oneroster_rest.translate import ROLE, Translator, objectives, roles_of

USER: dict[str, Any] = {"sourcedId": "u1", "status": "active", "givenName": "G", "familyName": "F"}


def cells(kind: str, row: object) -> dict[str, str]:
    """Returns the cells of a row, keyed by header."""
    translator = Translator(BY_NAME[kind])
    return dict(zip(translator.header, translator.cells(row), strict=True))


def org(name: str) -> dict[str, str]:
    """Returns a GUIDRef to an org."""
    return {"href": f"https://sis.example.org/orgs/{name}", "sourcedId": name, "type": "org"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (org("a"), "a"),
        ("a", "a"),
        ({"href": "/orgs/a%20b/"}, "a b"),
        ({"SourcedID": "a"}, "a"),
        ([org("a")], "a"),
        (7, "7"),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
    ids=str,
)
def test_a_reference_is_read_in_every_form(value: object, expected: str) -> None:
    """A reference may be a GUIDRef, a plain id, a number, or a list with one reference.

    An object with only a `href`, and an object with keys in another case, are read too.
    """
    assert cells("org", {"sourcedId": "o", "parent": value})["parentSourcedId"] == expected
    assert cells("org", {"sourcedId": "o", "parentSourcedId": value})["parentSourcedId"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([org("a"), org("b"), org("a")], "a,b"),
        ("a,b", "a,b"),
        (org("a"), "a"),
        (["a", "b"], "a,b"),
        ([None, {}, "b"], "b"),
        (None, ""),
    ],
    ids=str,
)
def test_references_are_read_in_every_form(value: object, expected: str) -> None:
    """References may be a list of GUIDRefs, a list of ids, a single GUIDRef, or a string of ids.

    Each id is returned once.
    """
    assert cells("class", {"sourcedId": "c", "terms": value})["termSourcedIds"] == expected
    assert cells("class", {"sourcedId": "c", "termSourcedIds": value})["termSourcedIds"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["KG"], "KG"),
        ("03,04", "03,04"),
        (["Kindergarten", "Tenth grade"], "KG,10"),
        (["First Grade"], "01"),
        (["1st grade", "2nd", "3rd Grade", "11th grade"], "01,02,03,11"),
        (["Grade 7"], "07"),
        (["Pre-Kindergarten", "Transitional Kindergarten"], "PK,TK"),
        ([3, "4"], "3,4"),
        (["Lower school"], "Lower school"),
        (None, ""),
    ],
    ids=str,
)
def test_grades_are_read_in_every_form(value: object, expected: str) -> None:
    """Grades are read from codes, names, numbers and lists; unknown values are kept."""
    assert cells("person", USER | {"grades": value})["grades"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "true"), (False, "false"), ("true", "true"), (1, "1"), (1.0, "1"), ("False", "False"), (None, "")],
    ids=str,
)
def test_booleans_go_on_as_text_that_the_sync_reads(value: object, expected: str) -> None:
    """Booleans become the text that the sync's checks expect, and other values stay as they are."""
    assert cells("person", USER | {"enabledUser": value})["enabledUser"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-08-17", "2026-08-17"),
        ("2026-08-17T00:00:00.000Z", "2026-08-17"),
        ("2026-08-17 00:00:00+09:00", "2026-08-17"),
        ("17.08.2026", "17.08.2026"),
        (None, ""),
    ],
    ids=str,
)
def test_a_date_with_a_time_is_its_day(value: object, expected: str) -> None:
    """A date with a time is read as the day that the source states, in the source's own time zone."""
    assert cells("enrollment", {"sourcedId": "e", "beginDate": value})["beginDate"] == expected


ROLES = [
    ([("teacher", "primary", "a")], "teacher", "a"),
    ([("teacher", "primary", "a"), ("student", "secondary", "b")], "student", "a,b"),
    ([("aide", "secondary", "a"), ("teacher", "Primary", "b")], "teacher", "b,a"),
    ([("aide", "secondary", "a"), ("teacher", "secondary", "b")], "aide", "a,b"),
    ([("ext:aide", "primary", "a")], "aide", "a"),
    ([("ext:coach", "primary", "a")], "ext:coach", "a"),
    ([], "", ""),
]


@pytest.mark.parametrize(("held", "role", "orgs"), ROLES, ids=str)
def test_the_roles_of_12_are_one_role_and_all_orgs(held: list[tuple[str, str, str]], role: str, orgs: str) -> None:
    """The roles of a OneRoster 1.2 user become one main role and the list of all the user's orgs."""
    roles = [{"role": name, "roleType": kind, "org": org(where)} for name, kind, where in held]
    converted = cells("person", USER | {"roles": roles})
    assert (converted["role"], converted["orgSourcedIds"]) == (role, orgs)
    both = cells("person", USER | {"roles": roles, "primaryOrg": org("z")})
    assert both["orgSourcedIds"].split(",")[-1] == "z"
    rows = [dict(zip(ROLE.header, one, strict=True)) for one in roles_of(USER | {"roles": roles})]
    assert [one["orgSourcedId"] for one in rows] == [where for _, _, where in held]
    assert all(one["userSourcedId"] == "u1" and one["sourcedId"].startswith("u1/") for one in rows)
    assert len({one["sourcedId"] for one in rows}) == len(rows)


def test_the_roles_and_orgs_of_11_stay_as_they_are() -> None:
    """In a 1.2 service, a user in the form of OneRoster 1.1 keeps its role and orgs."""
    converted = cells("person", USER | {"role": "teacher", "orgs": [org("a"), org("b")]})
    assert (converted["role"], converted["orgSourcedIds"]) == ("teacher", "a,b")
    assert roles_of(USER | {"role": "teacher"}) == []


def test_lists_of_the_csv_binding() -> None:
    """Lists are translated to the text forms of the CSV binding: user ids, score scales and agents.

    Agents are read even if their field has the misspelt name `agentSourceIds`.
    """
    ids = [{"type": "State", "identifier": "7"}, {"type": "Badge", "identifier": "B"}]
    converted = cells("person", USER | {"userIds": ids, "agentSourceIds": [{"sourcedId": "p"}]})
    assert converted["userIds"] == "{State:7},{Badge:B}"
    assert converted["agentSourcedIds"] == "p"
    values = [{"itemValueLHS": "A", "itemValueRHS": "90-100"}]
    assert cells("score_scale", {"sourcedId": "s", "scoreScaleValue": values})["scoreScaleValue"] == "{A:90-100}"


def test_learning_objectives_are_json_in_a_fixed_order() -> None:
    """Learning objectives become JSON, sorted by source and id.

    The objectives of a result include the student's scores.
    """
    sets = [
        {"source": "case", "learningObjectiveIds": ["b", "a"]},
        {"source": "case", "learningObjectiveResults": [{"learningObjectiveId": "c", "score": 3, "textScore": "ok"}]},
    ]
    parsed = json.loads(cells("result", {"sourcedId": "r", "learningObjectiveSet": sets})["learningObjectiveSet"])
    assert [one["id"] for one in parsed] == ["a", "b", "c"]
    assert parsed[2] == {"source": "case", "id": "c", "score": 3.0, "text_score": "ok"}


def test_keys_are_found_in_any_case_and_passwords_never() -> None:
    """Keys are found in any case, and unknown keys such as passwords are not read."""
    converted = cells("person", {"SOURCEDID": "u", "GivenName": "G", "familyname": "F", "password": "secret", "x": 1})
    assert (converted["sourcedId"], converted["givenName"], converted["familyName"]) == ("u", "G", "F")
    assert "secret" not in str(converted)


def test_what_is_no_row_is_an_empty_one() -> None:
    """A value that is not a JSON object is translated to a row with empty cells."""
    for row in (None, "text", 7, ["a"]):
        assert set(cells("person", row).values()) == {""}
        assert roles_of(row) == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sourcedId", "href", "type", "role", "org", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = sorted(
    {one.header for kind in KINDS for one in kind.fields}
    | {one.header for kind in KINDS for one in kind.refs}
    | {"roles", "primaryOrg", "orgs", "terms", "class", "user", "school", "agents", "userIds", "learningObjectiveSet"}
)


UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the machine may be loaded


@UNHURRIED
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=8), st.sampled_from([kind.name for kind in KINDS]))
def test_no_row_breaks_the_translation(row: dict[str, Any], kind: str) -> None:
    """Whatever type a field has, the translation gives a text for every cell."""
    assert all(isinstance(cell, str) for cell in cells(kind, row).values())
    assert all(isinstance(cell, str) for one in roles_of(row) for cell in one)


@UNHURRIED
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True),
    st.lists(ANYTHING, min_size=1, max_size=6),
    st.sampled_from([kind.name for kind in KINDS]),
    st.booleans(),
)
def test_a_page_reads_as_its_rows_do(names: list[str], values: list[Any], kind: str, odd: bool) -> None:
    """Translating a page column by column gives the same cells, in the same order, as translating row by row."""
    rows: list[Any] = [
        {name: values[(at + number) % len(values)] for at, name in enumerate(names)} for number in range(40)
    ]
    rows[20:25] = [{"sourcedId": "another shape"}] * 5 if odd else rows[20:25]
    translator = Translator(BY_NAME[kind])
    assert translator.page(rows) == list(map(translator.cells, rows))
    assert translator.page([*rows, None, 7]) == list(map(translator.cells, [*rows, None, 7]))
    assert translator.page([]) == []


COLUMNS = [
    [True, 1, 1.0, "1", None],
    [True, False, None],
    [1.0, 2.5, -0.0],
    [org("a"), org("b"), {"SourcedID": "c"}],
    [org("a"), {"sourcedId": None, "href": "/orgs/d"}],
    [{"sourcedId": 7}, {"sourcedId": ""}],
    ["2026-08-17T00:00:00.000Z", "2026-08-17", None],
    ["ext:student", "student", "ext:coach"],
]


@pytest.mark.parametrize("values", COLUMNS, ids=str)
@pytest.mark.parametrize(("kind", "name"), [("enrollment", "primary"), ("enrollment", "user"), ("result", "score")])
def test_equal_values_that_are_not_the_same_stay_apart(kind: str, name: str, values: list[Any]) -> None:
    """Values that are equal in Python but not the same, such as 1, 1.0 and true, give different cells."""
    rows = [{"sourcedId": str(number), name: values[number % len(values)]} for number in range(60)]
    translator = Translator(BY_NAME[kind])
    assert translator.page(rows) == list(map(translator.cells, rows))


def test_objectives_that_are_no_list_name_nothing() -> None:
    """Learning objectives that are not a list are read as an empty list."""
    assert objectives([{"source": "state", "learningObjectiveIds": 5, "learningObjectiveResults": "x"}]) == ""


def test_rows_without_an_id_are_no_repeats() -> None:
    """Two rows without a sourcedId are not counted as one repeated row. A repeated row could mean that the source has
    changed.
    """
    spool = Spool("org", "orgs", ("sourcedId", "dateLastModified", "name"), DiskBudget(1))
    try:
        spool.add([("", "", "one"), ("", "", "two"), ("a", "", "three")])
        repeats = spool.repeats()
    finally:
        spool.close()
    assert repeats.repeated == ()
    assert not repeats.differ

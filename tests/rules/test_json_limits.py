"""Tests the scan of a JSON document, which counts all values of a document without building them."""

import json
import re
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Invalid
from app.core.json_limits import MAX_DEPTH, MAX_KEYS, MAX_VALUES, NotText, check_json
from tests.faces.abuse.bodies import BODIES
from tests.processor import least_seconds

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


def code_of(document: bytes) -> str | None:
    """Returns the code of the limit that a JSON document exceeds, or None."""
    try:
        check_json(document)
    except Invalid as error:
        return error.violations[0].code
    return None


@pytest.mark.long
@given(JSON)
def test_an_ordinary_document_passes(value: Any) -> None:
    """A small document is within the limits, whatever its texts contain."""
    check_json(json.dumps(value).encode())
    check_json(json.dumps(value, ensure_ascii=False, indent=1).encode())


@given(JSON)
def test_a_long_list_is_counted_behind_any_text(value: Any) -> None:
    """A long list is counted, whatever text comes before it."""
    document = json.dumps([value, [0] * MAX_VALUES], ensure_ascii=False).encode()
    assert code_of(document) in ("body.too_many_values", "body.too_many_keys")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([0] * MAX_VALUES, "body.too_many_values"),
        ([0] * (MAX_VALUES - 10), None),
        ([[]] * MAX_VALUES, "body.too_many_values"),
        ({str(number): 0 for number in range(MAX_KEYS)}, None),
        ({str(number): 0 for number in range(MAX_KEYS + 1)}, "body.too_many_keys"),
        ([{str(number): 0 for number in range(MAX_KEYS + 1)}], "body.too_many_keys"),
        ({"a": "," * 100_000, "b": "[{" * 1000}, None),
        ({"a": '","' * 50_000}, None),
        ({"a\\": ["\\"] * 5000}, None),
    ],
)
def test_the_limits_are_where_they_are_said_to_be(value: Any, code: str | None) -> None:
    """Values and keys are counted exactly up to the limits; the content of texts does not count."""
    assert code_of(json.dumps(value).encode()) == code


def test_depth_is_limited() -> None:
    """The depth of lists and objects within each other is limited, also if they are mixed."""
    assert code_of(b'[{"a":' * (MAX_DEPTH // 2) + b"1" + b"}]" * (MAX_DEPTH // 2)) is None
    assert code_of(b'[{"a":' * MAX_DEPTH + b"1" + b"}]" * MAX_DEPTH) == "body.too_deep"


def test_another_encoding_is_refused() -> None:
    """JSON in another encoding than UTF-8 is refused.

    The limits on size are checked for UTF-8. The parser could read the same bytes differently in another encoding.
    """
    with pytest.raises(NotText):
        check_json(json.dumps(["é"], ensure_ascii=False).encode("latin-1"))
    for encoding in ("utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le"):
        with pytest.raises(NotText):
            check_json("[1]".encode(encoding))


@pytest.mark.parametrize("name", BODIES)
def test_counting_is_cheap(name: str) -> None:
    """Checking the limits of a JSON body takes little time and memory, even for hostile bodies."""
    body = BODIES[name]()
    assert len(body) <= 2 << 20

    def check() -> None:
        with suppress(Invalid, NotText):
            check_json(body)

    took = least_seconds(check, 0.5)
    tracemalloc.start()
    check()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20, f"{peak >> 20} MB"
    assert took < 0.5, f"{took:.3f} s"


def test_a_detail_is_a_sentence() -> None:
    """The detail of an error names the limit that was exceeded and no text of the document."""
    with pytest.raises(Invalid) as refused:
        check_json(b"[" * 100)
    assert re.fullmatch(r"[A-Z].*\d+ deep\.", refused.value.violations[0].detail)

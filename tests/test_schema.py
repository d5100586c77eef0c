"""Dataclasses from JSON: strictly, by their types and limits, and as a JSON Schema."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import BundleError
from flowtrack.schema import check_limits, json_schema, limits, read_dataclass


@dataclass(frozen=True)
class Inner:
    """Something inside."""

    size: int = field(default=1, metadata=limits(minimum=1, maximum=9))


@dataclass(frozen=True)
class Outer:
    """Every understood type.

    And more about it.
    """

    text: str
    ratio: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    maybe: int | None = None
    many: tuple[int, ...] = field(default=(1,), metadata=limits(minItems=1, minimum=0))
    three: tuple[float, float, float] = (0.0, 0.0, 0.0)
    free: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    inner: Inner = Inner()
    code: str = field(default="x1", metadata=limits(pattern="^[a-z][0-9]$"))


SCHEMA = json_schema(Outer, "test")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def accepted(value) -> bool:
    try:
        check_limits(read_dataclass(Outer, value, "file"), "file")
    except BundleError:
        return False
    return True


GOOD = [
    {"text": ""},
    {"text": "t", "ratio": 2, "flag": True, "kind": "b", "maybe": None, "many": [0, 5]},
    {"text": "t", "maybe": 4, "three": [1, 2.5, 3], "free": {"x": [None, {"y": "z"}]}},
    {"text": "t", "numbers": {"a": 1, "b": 2.5}, "inner": {"size": 9}, "code": "q7"},
    {"text": "t", "inner": {"size": 3.0}},
    {"text": "t", "inner": {}},
]
BAD = [
    ({}, "file.text is missing"),
    ([], r"file is \[\], expected an object"),
    ({"text": 3}, "file.text is 3, expected a string"),
    ({"text": "t", "speed": 1}, r"unknown entries \['speed'\]; known are"),
    ({"text": "t", "ratio": "1"}, "file.ratio is '1', expected a number"),
    ({"text": "t", "ratio": True}, "file.ratio is True, expected a number"),
    ({"text": "t", "ratio": 0}, "file.ratio is 0.0, expected more than 0"),
    ({"text": "t", "flag": 1}, "file.flag is 1, expected true or false"),
    ({"text": "t", "kind": "c"}, r"file.kind is 'c', expected one of \['a', 'b'\]"),
    ({"text": "t", "kind": []}, "file.kind is"),
    ({"text": "t", "maybe": True}, "file.maybe is True, expected a whole number"),
    ({"text": "t", "maybe": 1.5}, "file.maybe is 1.5, expected a whole number"),
    ({"text": "t", "many": 3}, "file.many is 3, expected a list"),
    ({"text": "t", "many": []}, "file.many has 0 items, expected at least 1"),
    ({"text": "t", "many": [1, -1]}, r"file.many\[1\] is -1, expected at least 0"),
    ({"text": "t", "many": [1, "2"]}, r"file.many\[1\] is '2', expected a whole number"),
    ({"text": "t", "three": [1, 2]}, "file.three has 2 items, expected 3"),
    ({"text": "t", "three": [1, 2, 3, 4]}, "file.three has 4 items, expected 3"),
    ({"text": "t", "three": [1, 2, None]}, r"file.three\[2\] is None, expected a number"),
    ({"text": "t", "free": []}, r"file.free is \[\], expected an object"),
    ({"text": "t", "numbers": {"a": "b"}}, "file.numbers.a is 'b', expected a number"),
    ({"text": "t", "inner": None}, "file.inner is None, expected an object"),
    ({"text": "t", "inner": {"size": 10}}, "file.inner.size is 10, expected at most 9"),
    ({"text": "t", "inner": {"depth": 1}}, r"file.inner has unknown entries \['depth'\]"),
    ({"text": "t", "code": "7q"}, "file.code is '7q', expected text that matches"),
]


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["description"] == "Every understood type."
    assert SCHEMA["required"] == ["text"]


@pytest.mark.parametrize("value", GOOD, ids=str)
def test_good_values_are_read(value):
    made = read_dataclass(Outer, value, "file")
    check_limits(made, "file")
    assert VALIDATOR.is_valid(value)
    again = json.loads(json.dumps(asdict(made)))
    assert read_dataclass(Outer, again, "file") == made
    assert VALIDATOR.is_valid(again)


@pytest.mark.parametrize(("value", "message"), BAD, ids=lambda x: str(x)[:40])
def test_bad_values_are_refused_by_reader_and_schema(value, message):
    with pytest.raises(BundleError, match=message):
        check_limits(read_dataclass(Outer, value, "file"), "file")
    assert not VALIDATOR.is_valid(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_none_are_refused(number):
    with pytest.raises(BundleError, match="expected a finite number"):
        read_dataclass(Outer, {"text": "t", "ratio": number}, "file")


def test_whole_numbers_become_floats_and_the_other_way():
    made = read_dataclass(Outer, {"text": "t", "ratio": 2, "maybe": 3.0}, "file")
    assert type(made.ratio) is float
    assert type(made.maybe) is int


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.floats(-2, 12) | st.sampled_from("abq7"),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(st.sampled_from(["size", "a"]), inside, max_size=2)
    ),
    max_leaves=5,
)


@given(st.sampled_from([f for f in SCHEMA["properties"] if f != "text"]), JSON)
def test_reader_and_schema_agree_on_any_entry(name, value):
    content = {"text": "t", name: value}
    assert accepted(content) == VALIDATOR.is_valid(content)

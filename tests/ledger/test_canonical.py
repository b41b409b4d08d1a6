"""Canonical JSON: one form, equal to RFC 8785, and nothing else is read."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvariantError, ValueRefused
from core.model.event import KillTripped, RunEnded
from ledger import canonical
from tests.ledger import factory

_texts = st.text(st.characters(codec="utf-8"))
_keys = st.text(st.characters(max_codepoint=127))
_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.INT_MAX, canonical.INT_MAX) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(_trees)
def test_canonical_bytes_equal_rfc8785(tree: Any) -> None:
    assert canonical.encode(tree) == rfc8785.dumps(tree)


@given(_trees)
def test_canonical_bytes_are_read_back(tree: Any) -> None:
    assert canonical.read(canonical.encode(tree)) == tree


@pytest.mark.parametrize("event", factory.one_of_each(), ids=lambda event: type(event).__name__)
def test_every_event_has_the_bytes_of_rfc8785(event: Any) -> None:
    payload = canonical.payload_of(event)
    assert canonical.encode(payload) == rfc8785.dumps(payload)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b' {"a":1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":1e999}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"\xc3\xa9":1}',
        b'{"a":"\x01"}',
        b'\xef\xbb\xbf{"a":1}',
        b"",
        b"[" * 5000,
        b'"' + b"x" * canonical.BODY_BYTES_MAX + b'"',
    ],
)
def test_every_other_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(ValueRefused):
        canonical.read(data)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1 / 3, "0.333333333"),
        (-0.0, "0"),
        (1e-12, "0.000000000001"),
        (1.5e21, "1500000000000000000000"),
        (123456789.96, "123456790"),
        (2.0, "2"),
    ],
)
def test_float_becomes_plain_text_of_nine_digits(value: float, text: str) -> None:
    assert canonical.float_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_text_is_close_and_stays_as_it_is_when_read_again(value: float) -> None:
    text = canonical.float_text(value)
    assert canonical.float_text(float(text)) == text
    assert math.isclose(float(text), value, rel_tol=1e-8, abs_tol=1e-320)
    assert "e" not in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_float_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvariantError, match="finite"):
        canonical.float_text(value)


@pytest.mark.parametrize(
    ("value", "text"), [("1E+3", "1000"), ("1.500", "1.5"), ("-0.00", "0"), ("0.000", "0")]
)
def test_decimal_becomes_plain_text(value: str, text: str) -> None:
    assert canonical.decimal_text(Decimal(value)) == text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+1000000", "1E-1000000"])
def test_decimal_without_plain_text_is_refused(value: str) -> None:
    with pytest.raises(InvariantError):
        canonical.decimal_text(Decimal(value))


def test_integer_beyond_what_json_keeps_becomes_text() -> None:
    event = RunEnded("r", "x", {"small": 2**53 - 1, "large": 2**53, "minus": -(2**53)})
    counters = canonical.payload_of(event)["counters"]
    assert counters == {"small": 2**53 - 1, "large": "9007199254740992", "minus": str(-(2**53))}


def test_set_is_written_in_sorted_order() -> None:
    event = RunEnded("r", "x", {"names": {f"n{number}" for number in range(20)}})  # type: ignore[dict-item]
    assert canonical.payload_of(event)["counters"]["names"] == sorted(
        f"n{number}" for number in range(20)
    )


def test_numpy_numbers_are_taken_as_the_numbers_they_are() -> None:
    event = RunEnded("r", "x", {"frames": np.int64(3)})  # type: ignore[dict-item]
    assert canonical.payload_of(event)["counters"] == {"frames": 3}


@pytest.mark.parametrize("bad", [b"bytes", object(), {1: 2}, {"é": 1}, 1j])
def test_value_without_canonical_form_is_refused(bad: Any) -> None:
    with pytest.raises(InvariantError):
        canonical.payload_of(RunEnded("r", "x", {"bad": bad}))
    with pytest.raises(InvariantError):
        canonical.encode({"bad": bad})


def test_lone_surrogate_is_refused() -> None:
    payload = canonical.payload_of(KillTripped("all", "human:trader", "\ud800"))
    with pytest.raises(InvariantError, match="surrogate"):
        canonical.encode_checked(payload)


@pytest.mark.parametrize("bad", [1.5, 2**53, -(2**53)])
def test_encode_itself_takes_no_float_and_no_large_integer(bad: Any) -> None:
    with pytest.raises(InvariantError):
        canonical.encode([bad])

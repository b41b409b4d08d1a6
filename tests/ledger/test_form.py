"""The quick proof of form: it never says yes where the slow way says no, and is rarely unsure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ValueRefused
from ledger import canonical, form
from ledger.envelope import KINDS, seal, type_of, unseal
from tests.ledger import factory

BODIES = [
    seal(event, seq=9, ts_ns=factory.START_NS, run="run-1", cause=3, actor="system", prev="0" * 64)
    for event in factory.one_of_each()
]
SLOW = {"RUN_STARTED"}
"""Types with free fields: always proved the slow way."""


def _is_sound(body: bytes) -> bool:
    try:
        unseal(body)
    except ValueRefused:
        return False
    return True


@pytest.mark.parametrize("body", BODIES, ids=form.kind_of)
def test_what_the_program_writes_is_proved_quickly(body: bytes) -> None:
    kind = form.kind_of(body)
    assert form.is_in_form(body, kind) == (kind not in SLOW)
    assert form.event_of(body, kind) == unseal(body)[1]


def _changed(tree: object, value: object, place: int) -> object:
    """Return the tree with the leaf at ``place`` (counted in order) replaced."""
    count = -1

    def walk(node: object) -> object:
        nonlocal count
        if isinstance(node, dict) and node:
            return {key: walk(item) for key, item in node.items()}
        if isinstance(node, list) and node:
            return [walk(item) for item in node]
        count += 1
        return value if count == place else node

    return walk(tree)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(canonical.float_text),
    st.integers(-(2**70), 2**70).map(str), st.just([]), st.just({}),
    st.sampled_from(["-0", "00", "1.50", "1e5", "0.10", "01", "+1", "1_0", "٣", "9007199254740992",
                     "9007199254740991", "1.", ".5", "-0.0", "123456789.5", "NaN", "null"]),
)  # fmt: skip


@settings(max_examples=300)
@given(body=st.sampled_from(BODIES), value=ODD, place=st.integers(0, 40))
def test_quick_yes_is_never_a_slow_no(body: bytes, value: object, place: int) -> None:
    fresh = json.dumps(
        _changed(json.loads(body), value, place), sort_keys=True, separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")  # fmt: skip
    for kind in {form.kind_of(fresh), form.kind_of(body)} & KINDS.keys():
        if form.is_in_form(fresh, kind):
            assert type_of(unseal(fresh)[1]) == kind


@settings(max_examples=300)
@given(body=st.sampled_from(BODIES), place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_quick_yes_to_a_changed_byte_is_never_a_slow_no(body: bytes, place: int, byte: int) -> None:
    changed = bytearray(body)
    changed[place % len(changed)] = byte
    fresh = bytes(changed)
    if form.is_in_form(fresh, form.kind_of(body)):
        assert _is_sound(fresh)


@settings(max_examples=100)
@given(value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e8, max_value=1e8))
def test_ordinary_floats_are_proved_quickly(value: float) -> None:
    event = factory.day()[2].event
    body = seal(
        type(event)("SIM-USD", "x", 0.5, 5, round(value, 3), 0.8), seq=9, ts_ns=0, run="r",
        cause=None, actor="system", prev="0" * 64,
    )  # fmt: skip
    assert form.is_in_form(body, "NO_TRADE") or abs(value) < 1e-4

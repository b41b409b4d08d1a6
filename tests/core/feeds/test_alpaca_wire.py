"""Alpaca's frames: msgpack reads as JSON does, numbers are exact."""

from __future__ import annotations

import json
import struct
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ValueRefused
from core.feeds.alpaca import AlpacaProtocol
from core.feeds.alpaca_wire import messages_of, number, number_text
from core.feeds.connection import MALFORMED
from tests.core.feeds.wire import T0, best, instrument, settings

NS = 1_700_000_000_123_456_789


def stamp(data):
    return msgspec.msgpack.Ext(-1, data)


STAMPS = [
    (struct.pack(">I", 1_700_000_000), "2023-11-14T22:13:20.000000000Z"),
    (struct.pack(">Q", (123_456_789 << 34) | 1_700_000_000), "2023-11-14T22:13:20.123456789Z"),
    (struct.pack(">Iq", 123_456_789, 1_700_000_000), "2023-11-14T22:13:20.123456789Z"),
]


@pytest.mark.parametrize(("data", "text"), STAMPS, ids=["32", "64", "96"])
def test_msgpack_time_keeps_its_nanoseconds(data, text):
    (message,) = messages_of(msgspec.msgpack.encode([{"T": "t", "t": stamp(data)}]))
    assert json.loads(bytes(message)) == {"T": "t", "t": text}


@pytest.mark.parametrize(
    "data", [b"", b"12345", struct.pack(">Q", (2**30 - 1) << 34), struct.pack(">Iq", 0, 2**62)]
)
def test_msgpack_time_that_is_none_is_refused(data):
    frame = msgspec.msgpack.encode([{"T": "t", "t": stamp(data)}])
    with pytest.raises(MALFORMED):
        messages_of(frame)


def test_msgpack_and_json_frames_make_the_same_book():
    row = {"T": "q", "S": "IBM", "bp": 181.69, "bs": 200, "ap": 181.75, "as": 100}
    packed = msgspec.msgpack.encode([row | {"t": stamp(STAMPS[1][0])}])
    written = json.dumps([row | {"t": STAMPS[1][1]}]).encode()
    seen = []
    for frame in (packed, written):
        protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
        protocol.on_open(T0)
        protocol.receive(frame, T0)
        seen.append((best(protocol), protocol.instruments[0].last_event_ns))
    assert seen == [(("181.69", "181.75"), NS)] * 2


@given(st.integers(1, 10**9), st.integers(0, 9))
def test_double_of_a_decimal_price_is_read_as_that_decimal(units, places):
    price = Decimal(units).scaleb(-places)
    (message,) = messages_of(msgspec.msgpack.encode([{"p": float(price)}]))
    assert number(msgspec.json.decode(message, type=dict[str, msgspec.Raw])["p"]) == price


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_read_or_refused(data):
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    protocol.on_open(T0)
    protocol.receive(data, T0)
    protocol.receive(b"\x91" + data, T0)
    assert protocol.counters.frames == 2


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"181.90", b"181.90"), (b"1e2", b"100"), (b"1.819E2", b"181.9"), (b"-1", b"-1")],
)
def test_number_becomes_plain_text(raw, text):
    assert number_text(msgspec.Raw(raw)) == text


@pytest.mark.parametrize(
    "raw", [b"null", b'"1"', b"true", b"[1]", b"1e19", b"1e-19", b"1e999999999"]
)
def test_what_is_no_number_of_ours_is_refused(raw):
    with pytest.raises(ValueRefused):
        number_text(msgspec.Raw(raw))

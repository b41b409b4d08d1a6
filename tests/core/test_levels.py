"""Level reading: the fast kernel against the slow reader, on clean, odd and broken text."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import OffLotQuantity, OffTickPrice, ValueRefused
from core.kernels import levels as kernel
from core.levels import LevelReader, exact_row, grid_of, slow_changes, slow_pairs, slow_updates
from core.model.instrument import Instrument

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"


def instrument(tick: str, lot: str) -> Instrument:
    return Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal(tick), Decimal(lot))


BTC = instrument("0.01", "0.00001")
GRIDS = [("0.01", "0.00001"), ("0.05", "0.25"), ("1", "1"), ("100", "1000"),
         ("0.00000001", "0.00000001"), ("0.000000000001", "0.1"), ("2.5", "0.003")]  # fmt: skip

SLOW: dict[int, Callable[[bytes], list[tuple[int, str, str]]]] = {
    kernel.PAIRS: lambda raw: slow_pairs(raw, 1),
    kernel.CHANGES: slow_changes,
    kernel.UPDATES: slow_updates,
}
REFUSALS = (ValueRefused, msgspec.DecodeError, UnicodeDecodeError)


def fast(one: Instrument, kind: int, raw: bytes) -> list[tuple[int, int, int]] | None:
    """Return what the kernel reads, or None where it leaves the text to the slow reader."""
    rows = np.full((len(raw) + 1, 3), -7, np.int64)
    count = kernel.parse(raw, kind, 1, grid_of(one, floors=False), rows, 0)
    return None if count < 0 else [tuple(row) for row in rows[:count].tolist()]


def slow(one: Instrument, kind: int, raw: bytes) -> list[tuple[int, int, int]] | None:
    """Return what the slow reader reads, or None where it refuses."""
    try:
        return [exact_row(one, level) for level in SLOW[kind](raw)]
    except REFUSALS:
        return None


def assert_agree(one: Instrument, kind: int, raw: bytes) -> None:
    """What the kernel reads the slow reader reads too, to the same rows."""
    read = fast(one, kind, raw)
    if read is not None:
        assert read == slow(one, kind, raw), raw
    face = face_reads(one, kind, raw)
    assert face == slow(one, kind, raw), raw


def face_reads(one: Instrument, kind: int, raw: bytes) -> list[tuple[int, int, int]] | None:
    reader = LevelReader(one, capacity=2)
    reads = (lambda r: reader.read_pairs(r, 1), reader.read_changes, reader.read_updates)
    try:
        return [tuple(row) for row in reads[kind](raw).tolist()]
    except ValueRefused:
        return None


def as_text(kind: int, levels: list[tuple[int, str, str]]) -> bytes:
    """Return the JSON text of levels as the venues write it."""
    if kind == kernel.UPDATES:
        rows: list[object] = [
            {
                "side": ("bid", "offer")[side],
                "event_time": "2026-08-09T21:05:48.554374Z",
                "price_level": price,
                "new_quantity": qty,
            }
            for side, price, qty in levels
        ]
    elif kind == kernel.CHANGES:
        rows = [[("buy", "sell")[side], price, qty] for side, price, qty in levels]
    else:
        rows = [[price, qty] for _, price, qty in levels]
    return json.dumps(rows, separators=(",", ":")).encode()


kinds = st.sampled_from([kernel.PAIRS, kernel.CHANGES, kernel.UPDATES])
grids = st.sampled_from(GRIDS).map(lambda grid: instrument(*grid))
digits = st.text("0123456789", min_size=0, max_size=20)
odd_numbers = st.builds(
    lambda sign, whole, point, fraction, end: sign + whole + point + fraction + end,
    st.sampled_from(["", "", "", "-", "+", " "]),
    digits,
    st.sampled_from(["", ".", ".", ".."]),
    digits,
    st.sampled_from(["", "", "", "e3", "E-1", " ", "x", "_1", "\u0661", "\\u0031", '"', "\x00"]),
)
on_grid = st.builds(
    lambda steps, zeros: (steps, zeros), st.integers(0, 2**53 + 1), st.integers(0, 6)
)


def number(steps: int, size: Decimal, zeros: int) -> str:
    text = format(steps * size, "f")
    return text + ("0" * zeros if "." in text else "." + "0" * zeros if zeros else "")


@pytest.mark.slow
@given(kind=kinds, one=grids, data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_value_on_the_grid_is_read_exactly_by_the_kernel(
    kind: int, one: Instrument, data: st.DataObject
) -> None:
    # Below 10**15 in grid units, so that the kernel itself must take it.
    top = 10**14 // max(one.tick_units, one.lot_units)
    steps = st.tuples(
        st.integers(0, 1), st.integers(1, top), st.integers(0, top), st.integers(0, 6)
    )
    wanted = data.draw(st.lists(steps, max_size=8))
    levels = [
        (side, number(ticks, one.tick_size, zeros), number(lots, one.lot_size, zeros))
        for side, ticks, lots, zeros in wanted
    ]
    expected = [(side, ticks, lots) for side, ticks, lots, _ in wanted]
    if kind == kernel.PAIRS:
        expected = [(1, ticks, lots) for _, ticks, lots in expected]
    assert fast(one, kind, as_text(kind, levels)) == expected


@pytest.mark.slow
@given(
    kind=kinds,
    one=grids,
    levels=st.lists(st.tuples(st.integers(0, 1), odd_numbers, odd_numbers), min_size=1, max_size=2),
)
@settings(max_examples=400, deadline=None)
def test_odd_numbers_are_read_alike_by_fast_and_slow(
    kind: int, one: Instrument, levels: list[tuple[int, str, str]]
) -> None:
    assert_agree(one, kind, as_text(kind, levels))


@pytest.mark.slow
@given(one=grids, price=on_grid, qty=on_grid)
@settings(max_examples=200, deadline=None)
def test_values_up_to_the_bound_are_read_alike_by_fast_and_slow(
    one: Instrument, price: tuple[int, int], qty: tuple[int, int]
) -> None:
    text = [[number(price[0], one.tick_size, price[1]), number(qty[0], one.lot_size, qty[1])]]
    assert_agree(one, kernel.PAIRS, json.dumps(text, separators=(",", ":")).encode())


SAMPLES = {
    kernel.PAIRS: b'[["61837.63000000","3.78826000"],["61830.1","0.00000000"],["1","25"]]',
    kernel.CHANGES: b'[["buy","10101.80","0.162567"],["sell","0.5762","2865.9"]]',
    kernel.UPDATES: b'[{"side":"bid","event_time":"2026-08-09T21:05:48.554374Z","price_level":'
    b'"65034.85","new_quantity":"0.67656"},{"side":"offer","event_time":"1970-01-01T00:00:00Z",'
    b'"price_level":"65062.5","new_quantity":"0"}]',
}
REPLACEMENTS = b'0159.,:"[]{}xe-+ \\\x00\x1f\x7f\xc3\xff'


@pytest.mark.slow
@given(kind=kinds, data=st.data())
@settings(max_examples=600, deadline=None)
def test_mutated_text_is_read_alike_by_fast_and_slow(kind: int, data: st.DataObject) -> None:
    raw = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(raw) - 1))
        act = data.draw(st.sampled_from(["replace", "replace", "insert", "delete", "cut"]))
        byte = data.draw(st.sampled_from(list(REPLACEMENTS)))
        if act == "replace":
            raw[place] = byte
        elif act == "insert":
            raw.insert(place, byte)
        elif act == "delete" and len(raw) > 1:
            del raw[place]
        elif act == "cut":
            raw = raw[: max(1, place)]
    assert_agree(instrument("0.01", "0.000001"), kind, bytes(raw))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kernel.PAIRS, kernel.CHANGES, kernel.UPDATES])
def test_every_single_byte_change_is_read_alike_by_fast_and_slow(kind: int) -> None:
    raw = SAMPLES[kind]
    one = instrument("0.01", "0.000001")
    for place in range(len(raw)):
        assert_agree(one, kind, raw[:place])
        assert_agree(one, kind, raw[:place] + raw[place + 1 :])
        for byte in REPLACEMENTS:
            assert_agree(one, kind, raw[:place] + bytes([byte]) + raw[place + 1 :])


def read_one(price: str, qty: str, one: Instrument = BTC) -> list[int]:
    raw = json.dumps([[price, qty]], separators=(",", ":")).encode()
    row: list[int] = LevelReader(one).read_pairs(raw, 0)[0].tolist()
    return row


def test_trailing_zeros_beyond_the_grid_are_fine() -> None:
    assert read_one("61837.63000000", "3.78826000") == [0, 6183763, 378826]


def test_zero_quantity_is_a_removal() -> None:
    assert read_one("61837.63", "0.00000000") == [0, 6183763, 0]


@pytest.mark.parametrize(
    ("price", "qty", "error"),
    [
        ("61837.635", "1", OffTickPrice),
        ("61837.63", "0.000001", OffLotQuantity),
        ("0", "1", ValueRefused),
        ("0.00000000", "1", ValueRefused),
        ("-1", "1", ValueRefused),
        ("1", "-1", ValueRefused),
        ("1", "-0", ValueRefused),
        ("1e3", "1", ValueRefused),
        ("NaN", "1", ValueRefused),
        ("01", "1", ValueRefused),
        ("1.", "1", ValueRefused),
        (".5", "1", ValueRefused),
        ("", "1", ValueRefused),
        ("1234567890123456789", "1", ValueRefused),
        ("1.0000000000000000000", "1", ValueRefused),
        ("99999999999999999", "1", ValueRefused),
        ("1", "999999999999999999", ValueRefused),
    ],
)
def test_refused_level_names_instrument_and_text(
    price: str, qty: str, error: type[ValueRefused]
) -> None:
    with pytest.raises(error, match="binance BTCUSDT: ") as caught:
        read_one(price, qty)
    offending = qty if price in {"1", "61837.63"} else price
    assert offending[:15] in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"[", b"{}", b"null", b'[["1"]]', b'[["1",2]]', b"[" * 9000])
def test_text_that_is_no_level_list_is_refused_by_every_method(raw: bytes) -> None:
    reader = LevelReader(BTC)
    for read in (
        lambda: reader.read_pairs(raw, 0),
        lambda: reader.read_changes(raw),
        lambda: reader.read_updates(raw),
        lambda: reader.read_depth(raw, b"[]"),
        lambda: reader.read_depth(b"[]", raw),
    ):
        with pytest.raises(ValueRefused, match="binance BTCUSDT: levels were"):
            read()


def test_white_space_escapes_and_other_key_orders_take_the_slow_way_to_the_same_rows() -> None:
    reader = LevelReader(BTC)
    assert reader.read_pairs(b'[ ["\\u0031.5", "2"] ]', 1).tolist() == [[1, 150, 200000]]
    raw = b'[{"new_quantity":"2","price_level":"1.5","side":"offer","more":[1]}]'
    assert reader.read_updates(raw).tolist() == [[1, 150, 200000]]
    assert reader.slow_reads == 2


def test_both_lists_of_a_message_are_read_in_one_call_bids_first() -> None:
    reader = LevelReader(BTC)
    rows = reader.read_depth(b'[["2","1"],["1","0"]]', b'[["3","5"]]')
    assert rows.tolist() == [[0, 200, 100000], [0, 100, 0], [1, 300, 500000]]
    assert reader.read_depth(b"[]", b"[]").tolist() == []
    assert reader.slow_reads == 0


def test_lists_may_be_msgspec_raw() -> None:
    raw = msgspec.Raw(b'[["2","1"]]')
    assert LevelReader(BTC).read_depth(raw, raw).tolist() == [[0, 200, 100000], [1, 200, 100000]]


@pytest.mark.parametrize("kind", [kernel.PAIRS, kernel.CHANGES, kernel.UPDATES])
def test_reader_grows_for_a_snapshot_of_any_length(kind: int) -> None:
    levels = [(i % 2, str(i + 1), "0.5") for i in range(500)]
    reader = LevelReader(BTC, capacity=4)
    raw = as_text(kind, levels)
    reads = (lambda r: reader.read_pairs(r, 1), reader.read_changes, reader.read_updates)
    rows = reads[kind](raw)
    assert rows[:, 1].tolist() == [100 * (i + 1) for i in range(500)]
    assert reader.slow_reads == 0
    both = reader.read_depth(as_text(kernel.PAIRS, levels), as_text(kernel.PAIRS, levels * 2))
    assert len(both) == 1500


def test_refused_second_list_returns_nothing_of_the_first() -> None:
    with pytest.raises(OffTickPrice):
        LevelReader(BTC).read_depth(b'[["2","1"]]', b'[["3.001","5"]]')


def test_off_lot_quantity_is_taken_down_and_counted_where_the_reader_is_told_to() -> None:
    """Binance keeps old orders off its present grid: 25.42618900 at a lot of 0.00001."""
    reader = LevelReader(BTC, off_lot="floor")
    raw = b'[["200000.00000000","25.42618900"],["1","0.000001"],["2","0.00000000"]]'
    assert reader.read_pairs(raw, 1).tolist() == [[1, 20000000, 2542618], [1, 100, 1], [1, 200, 0]]
    assert (reader.floored, reader.slow_reads) == (2, 0)
    with pytest.raises(OffTickPrice):
        reader.read_pairs(b'[["200000.001","25.42618900"]]', 1)
    with pytest.raises(ValueRefused):
        reader.read_pairs(b'[["1","-25.426189"]]', 1)


def test_fast_and_slow_take_off_lot_quantities_down_alike_and_count_each_once() -> None:
    raw = b'[["1.5","%s"],["2","7"]]'
    one = instrument("0.5", "0.25")
    for qty in (b"0.1", b"0.25", b"0.26", b"99.9999999", b"0.0000001", b"0", b"1000.125"):
        quick, slow_one = LevelReader(one, off_lot="floor"), LevelReader(one, off_lot="floor")
        rows = quick.read_depth(raw % qty, raw % qty).tolist()
        spaced = raw.replace(b",", b" , ") % qty
        # The spaced list comes second: the kernel has read the first before it gives up.
        assert slow_one.read_depth(raw % qty, spaced).tolist() == rows
        assert (quick.slow_reads, slow_one.slow_reads) == (0, 1)
        is_off = Decimal(qty.decode()) % one.lot_size != 0
        assert quick.floored == slow_one.floored == 2 * is_off


def capture(name: str) -> Path:
    """Return the path of a capture, or skip where the captures are absent."""
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"no capture {name} beside the repository")
    return path


def frames(name: str) -> Iterator[str]:
    """Yield the received texts of a capture."""
    with gzip.open(capture(name), "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["k"] == "recv":
                yield record["d"]


def real_lists(name: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield (instrument, kind, exact text of a level list) of a capture."""
    raw_lists = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for text in frames(name):
        outer = raw_lists.decode(text)
        body = raw_lists.decode(outer["data"]) if "data" in outer else outer
        if "b" in body and "a" in body and "U" in body:
            symbol = msgspec.json.decode(body["s"])
            yield from ((symbol, kernel.PAIRS, bytes(body[side])) for side in "ba")
        elif "changes" in body:
            yield msgspec.json.decode(body["product_id"]), kernel.CHANGES, bytes(body["changes"])
        elif "events" in body and bytes(body.get("channel", msgspec.Raw(b""))) == b'"l2_data"':
            for event in msgspec.json.decode(body["events"], type=list[dict[str, msgspec.Raw]]):
                product = msgspec.json.decode(event["product_id"])
                yield product, kernel.UPDATES, bytes(event["updates"])


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "binance_us_2021-10-11.jsonl.gz",
        "coinbase_2026-08-09_first600.jsonl.gz",
        "coinbase-exchange_2021-04-17.jsonl.gz",
    ],
)
def test_real_frames_are_read_by_the_kernel_and_alike_by_the_slow_reader(name: str) -> None:
    with gzip.open(capture(name), "rt", encoding="utf-8") as file:
        sizes = json.loads(file.readline())["instruments"]
    grids = {
        symbol: instrument(size["price_increment"], size["size_increment"])
        for symbol, size in sizes.items()
    }
    rng = np.random.default_rng(5)
    lists = 0
    for symbol, kind, raw in real_lists(name):
        one = grids[symbol]
        read = fast(one, kind, raw)
        assert read is not None, raw[:200]
        assert read == slow(one, kind, raw)
        lists += 1
        if len(raw) < 2000:
            broken = bytearray(raw)
            broken[int(rng.integers(len(raw)))] = int(rng.choice(list(REPLACEMENTS)))
            assert_agree(one, kind, bytes(broken))
    assert lists > 20

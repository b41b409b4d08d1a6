"""Capture files: what is read, what is refused and how, what survives a cut."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CaptureError, UnknownVenue
from core.feeds.capture import CaptureMeta, read_capture
from core.feeds.recorder import CaptureWriter
from core.feeds.replaying import without_last_close
from tests.core.feeds.wire import T0, instrument

META = {
    "k": "meta",
    "format": "capture/1",
    "venue": "binance",
    "symbols": ["BTCUSDT"],
    "instruments": {"BTCUSDT": {"price_increment": "0.01000000", "size_increment": "0.00001"}},
    "source": "made by a test",
}
LINES = [
    {"k": "open", "ns": T0, "url": "wss://x"},
    {"k": "send", "ns": T0 + 1, "d": "hello"},
    {"k": "recv", "ns": T0 + 2, "d": '{"a":"é"}'},
    {"k": "http", "ns": T0 + 3, "url": "https://x/depth", "d": "{}"},
    {"k": "close", "ns": T0 + 4, "why": "done"},
]


def text_of(meta=META, lines=LINES) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in [meta, *lines])


def written(tmp_path, data: bytes, name: str = "c.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_records_come_in_order_with_exact_text(tmp_path, pack):
    reader = read_capture(written(tmp_path, pack(text_of())))
    records = list(reader)
    assert [each.kind for each in records] == ["open", "send", "recv", "http", "close"]
    assert records[2].data == '{"a":"é"}'.encode()
    assert records[3].url == "https://x/depth"
    assert (records[4].why, records[4].ns) == ("done", T0 + 4)
    assert not reader.was_cut


def test_first_line_gives_instruments_in_the_order_of_the_symbols(tmp_path):
    meta = read_capture(written(tmp_path, text_of())).meta
    (one,) = meta.instruments
    assert (one.name, one.base, one.quote) == ("BTCUSDT", "BTC", "USDT")
    assert (one.tick_size, one.lot_size) == (Decimal("0.01"), Decimal("0.00001"))


def test_reading_again_starts_anew(tmp_path):
    reader = read_capture(written(tmp_path, text_of()))
    assert len(list(reader)) == len(list(reader)) == reader.n_records == 5


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_bytes_read_rise_to_the_size_of_the_file(tmp_path, pack):
    data = pack(text_of(lines=LINES * 20_000))
    reader = read_capture(written(tmp_path, data))
    seen = [reader.bytes_read for _ in reader]
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[len(seen) // 2] <= seen[-1] == len(data)
    assert len(set(seen)) > 3


def test_last_line_without_newline_is_read(tmp_path):
    assert len(list(read_capture(written(tmp_path, text_of()[:-1])))) == 5


def test_line_longer_than_a_block_is_read_whole(tmp_path):
    long = {"k": "recv", "ns": T0, "d": "x" * 3_000_000}
    data = gzip.compress(text_of(lines=[*LINES, long, *LINES]))
    lengths = [len(each.text) for each in read_capture(written(tmp_path, data))]
    assert max(lengths) == 3_000_000
    assert len(lengths) == 11


def test_packed_file_of_several_members_is_read_through(tmp_path):
    first, second = text_of(), text_of()[text_of().index(b"\n") + 1 :]
    reader = read_capture(written(tmp_path, gzip.compress(first) + gzip.compress(second)))
    assert len(list(reader)) == 10
    assert not reader.was_cut


def test_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("core.feeds.capture.MAX_LINE_BYTES", 1_500_000)
    path = written(tmp_path, gzip.compress(text_of() + b" " * 50_000_000))
    with pytest.raises(CaptureError, match="a line was longer than 1500000 bytes"):
        list(read_capture(path))


def test_plain_file_cut_inside_its_last_line_says_so(tmp_path):
    reader = read_capture(written(tmp_path, text_of()[:-9]))
    assert len(list(reader)) == 4
    assert reader.was_cut


def test_unknown_kind_is_skipped_and_counted(tmp_path):
    reader = read_capture(written(tmp_path, text_of(lines=[{"k": "note", "ns": 1}, *LINES])))
    assert len(list(reader)) == 5
    assert reader.skipped == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "line 1: was not a capture's meta line"),
        (b'{"k":"recv","ns":1,"d":""}\n', "line 1: was not the meta line"),
        (
            text_of({**META, "format": "capture/2"}),
            "format was 'capture/2', allowed is 'capture/1'",
        ),
        (text_of({**META, "symbols": []}), "no symbols"),
        (text_of({**META, "symbols": ["BTCUSDT"] * 2}), "a symbol was named twice"),
        (text_of({**META, "symbols": ["BTCUSDT", "X"]}), "no instrument for 'X'"),
        (
            text_of({**META, "instruments": {"BTCUSDT": {"price_increment": "0.01"}}}),
            "missing required field `size_increment`",
        ),
        (
            text_of(
                {
                    **META,
                    "instruments": {"BTCUSDT": {"price_increment": "0", "size_increment": "1"}},
                }
            ),
            "tick size of BTCUSDT was 0",
        ),
        (b"\x1f\x8bgarbage", "line 1: was not a capture's meta line"),
    ],
)
def test_file_that_is_no_capture_is_one_clear_error(tmp_path, data, said):
    path = written(tmp_path, data)
    with pytest.raises(CaptureError) as caught:
        read_capture(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(CaptureError, match="cannot be read \\(No such file or directory\\)"):
        read_capture(tmp_path / "absent.jsonl.gz")


def test_unknown_venue_is_named(tmp_path):
    with pytest.raises(UnknownVenue, match="venue was 'mtgox', allowed are sim, coinbase"):
        read_capture(written(tmp_path, text_of({**META, "venue": "mtgox"})))


@pytest.mark.parametrize("bad", [b"{", b'{"k":"recv"}', b'{"k":"recv","ns":"1"}', b"\xff"])
def test_bad_line_is_named_by_its_number_and_nothing_before_it_is_lost(tmp_path, bad):
    lines = text_of().split(b"\n")
    path = written(tmp_path, b"\n".join([*lines[:4], bad, *lines[4:]]))
    reader = read_capture(path)
    with pytest.raises(CaptureError, match=r"c\.jsonl line 5: was not a capture record"):
        list(reader)
    assert reader.n_records == 3


ONE = b'{"k":"recv","ns":1,"d":"{}"}'
NEW = b'{"k":"later","ns":2,"new":{"a":[{},{}]}}'
"""A record of a kind to come, in which something stands between braces."""


@pytest.mark.parametrize(
    ("lines", "line", "n_before"),
    [
        pytest.param([ONE.replace(b",", b",\n"), ONE], 2, 0, id="broken"),
        pytest.param([ONE, ONE + ONE, ONE], 3, 1, id="joined"),
        pytest.param([ONE, ONE + b" " + ONE], 3, 1, id="joined with a space"),
        pytest.param([ONE + ONE, ONE.replace(b",", b",\n", 1)], 2, 0, id="joined, then broken"),
        pytest.param([ONE.replace(b",", b",\n", 1), ONE + ONE], 2, 0, id="broken, then joined"),
        pytest.param([ONE + ONE, b"", ONE], 2, 0, id="joined, then an empty line"),
        pytest.param([b"", ONE + ONE], 3, 0, id="an empty line, then joined"),
        pytest.param([ONE, NEW.replace(b"},{", b"}\n,{")], 3, 1, id="broken between braces"),
        pytest.param([NEW.replace(b"},{", b"},\n{"), ONE + ONE], 2, 0, id="broken before a brace"),
        pytest.param([NEW[:-1] + b"\n}", ONE + ONE], 2, 0, id="broken before the last brace"),
        pytest.param([b"{\n" + NEW[1:], ONE + ONE], 2, 0, id="broken after the first brace"),
        pytest.param([ONE, b" " + ONE + b"{", b'"k":"recv","ns":3}'], 3, 1, id="begun too early"),
    ],
)
def test_line_that_is_not_one_record_is_refused_by_its_number(tmp_path, lines, line, n_before):
    head = text_of(lines=[])
    reader = read_capture(written(tmp_path, head + b"\n".join(lines) + b"\n"))
    with pytest.raises(CaptureError, match=f"line {line}: was not a capture record"):
        list(reader)
    assert reader.n_records == n_before


@pytest.mark.parametrize("end", [b"\r\n", b" \n", b"\n\n", b"\n \t"])
def test_space_around_a_record_and_empty_lines_change_nothing(tmp_path, end):
    data = text_of()
    first, rest = data[: data.index(b"\n") + 1], data[data.index(b"\n") + 1 :].strip()
    reader = read_capture(written(tmp_path, first + rest.replace(b"\n", end) + b"\n"))
    assert [each.ns for each in reader] == [T0 + n for n in range(5)]


@settings(max_examples=200)
@given(
    pieces=st.lists(st.sampled_from([ONE, NEW, b"\n", b"\n", b"\n", b" ", b"{", b"}", b","]),
                    max_size=12)
)  # fmt: skip
def test_lines_together_are_read_as_each_alone(tmp_path_factory, pieces):
    lines, plain, is_bad = b"".join(pieces), [], False
    for line in lines.split(b"\n"):
        try:
            plain += [json.loads(line)["ns"]] if line else []
        except (ValueError, KeyError, TypeError):
            is_bad = True
            break
    data = text_of(lines=[]) + lines + b"\n"
    reader = read_capture(written(tmp_path_factory.mktemp("lines"), data))
    try:
        for _ in reader:
            pass
        seen_bad = False
    except CaptureError:
        seen_bad = True
    assert (reader.n_records, seen_bad) == (len(plain), is_bad)


@settings(max_examples=60)
@given(share=st.floats(0, 1), packed=st.booleans())
def test_cut_file_reads_to_its_last_whole_line(tmp_path_factory, share, packed):
    lines = [{"k": "recv", "ns": n, "d": "y" * (n % 7)} for n in range(200)]
    whole = text_of(lines=lines)
    data = gzip.compress(whole) if packed else whole
    first = whole.index(b"\n") + 1
    # Enough for the first line must be there; without it there is nothing to read.
    least = 400 if packed else first
    cut = data[: least + int(share * (len(data) - least - 1))]
    reader = read_capture(written(tmp_path_factory.mktemp("cut"), cut))
    got = [record.ns for record in reader]
    assert got == list(range(len(got)))
    if packed:
        assert reader.was_cut
    assert f"cut after {len(got) + 1} whole lines" in reader.cut_text()


def test_damaged_middle_of_a_packed_file_loses_nothing_before_the_damage(tmp_path):
    path = tmp_path / "good.jsonl.gz"
    one = instrument("coinbase", "BTC-USD")
    writer = CaptureWriter(path, CaptureMeta("coinbase", (one.name,), (one,)))
    for n in range(500):
        writer.received(T0 + n, b"{}")
    writer.flush()
    # A block of the reserved type 3: no reader of the format can go on behind it.
    data = path.read_bytes() + b"\xff" * 2_000
    writer.finish()
    reader = read_capture(written(tmp_path, data, "bad.gz"))
    assert [record.ns for record in reader] == [T0 + n for n in range(500)]
    assert reader.was_cut


def test_close_that_nothing_follows_is_held_back(tmp_path):
    reader = read_capture(written(tmp_path, text_of(lines=[*LINES, *LINES])))
    kinds = [each.kind for each in without_last_close(reader)]
    assert kinds == ["open", "send", "recv", "http", "close", "open", "send", "recv", "http"]


@pytest.mark.parametrize("ns", [-1, 2**63, 10**40])
def test_time_that_no_row_could_hold_is_refused(tmp_path, ns):
    # Found by the fuzzer: the engine stopped at such a time.
    path = written(tmp_path, text_of(lines=[{"k": "recv", "ns": ns, "d": "{}"}]))
    with pytest.raises(CaptureError, match="line 2"):
        list(read_capture(path))

"""Exports: the promised columns, exact numbers, and nothing a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import os
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Failed, UserError
from core.lots import FifoBook
from core.model.event import LedgerEvent
from core.model.order import Side
from ledger.export import FORMATS, export
from ledger.export.formats import guard, write_csv, write_parquet
from ledger.export.kinds import Kind, Period
from ledger.export.tables import TABLES, parse_time
from tests.ledger import factory

FILLS_HEADER = (
    "seq,ts,venue,instrument,side,price,quantity,notional,fee,fee_currency,liquidity,"
    "client_order_id,decision_id,realized_pnl,rationale"
)

ALWAYS = Period()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path)
    return tmp_path


def _text(state_dir: Path, table: str, file_format: str, period: Period = ALWAYS) -> str:
    out = io.BytesIO()
    export(state_dir, table=table, file_format=file_format, out=out, period=period)
    return out.getvalue().decode()


def test_fills_begin_with_the_promised_columns(state: Path) -> None:
    assert _text(state, "fills", "csv").startswith(FILLS_HEADER + ",")


def test_csv_is_rfc_4180_with_plain_numbers(state: Path) -> None:
    text = _text(state, "fills", "csv")
    assert text.count("\r\n") == 4
    assert "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["side"], row["price"], row["fee"], row["liquidity"]) for row in rows] == [
        ("BUY", "100.02", "0.0040008", "taker"),
        ("BUY", "100.03", "0.0060018", "taker"),
        ("SELL", "100.09", "0.010009", "taker"),
    ]
    assert sum(Decimal(row["realized_pnl"]) for row in rows) == Decimal("0.6199884")


def test_loss_stays_a_number_and_formula_becomes_text(tmp_path: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    evil = '=HYPERLINK("http://x","y")'
    bought = factory.filled(book, "f-1", "o-1", "d", Side.BUY, 10_000, 5)
    sold = factory.filled(book, "-2", "+o", "@d", Side.SELL, 9_000, 5)
    sold = msgspec.structs.replace(sold, rationale=evil)
    events = [factory.run_started(), bought, sold]
    factory.write(tmp_path, [factory.Dated(event, 0) for event in events])
    row = list(csv.DictReader(io.StringIO(_text(tmp_path, "fills", "csv"), newline="")))[1]
    assert row["realized_pnl"] == "-0.0500095"
    assert row["rationale"] == "'" + evil
    assert (row["fill_id"], row["client_order_id"], row["decision_id"]) == ("'-2", "'+o", "'@d")
    again = json.loads(_text(tmp_path, "fills", "jsonl").splitlines()[1])
    assert again["rationale"] == evil


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_starts_like_a_formula_is_guarded(start: str) -> None:
    assert guard(start + "1") == f"'{start}1"
    assert guard("1" + start) == "1" + start


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_csv_text_comes_back_and_never_starts_a_formula(text: str) -> None:
    out = io.StringIO(newline="")
    write_csv(out, {"number": Kind.INTEGER, "words": Kind.TEXT}, [(-1, text)])
    row = list(csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True))[1]
    assert row[0] == "-1"
    assert not row[1].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row[1] == guard(text)
    assert row[1] in {text, "'" + text}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_holds_the_same_rows_in_every_format(state: Path, table: str) -> None:
    moved = [factory.run_started("run-2"), *factory.transferred(FifoBook(factory.INSTRUMENT))]
    factory.write(state, [factory.Dated(event, factory.START_NS) for event in moved])
    columns = TABLES[table].columns
    from_csv = list(csv.DictReader(io.StringIO(_text(state, table, "csv"), newline="")))
    from_json = json.loads(_text(state, table, "json"))
    lines = [json.loads(line) for line in _text(state, table, "jsonl").splitlines()]
    out = io.BytesIO()
    count = export(state, table=table, file_format="parquet", out=out)
    frame = pl.read_parquet(io.BytesIO(out.getvalue()))
    assert lines == from_json
    assert len(from_csv) == len(from_json) == frame.height == count > 0
    assert list(from_csv[0]) == list(from_json[0]) == frame.columns == list(columns)
    for name, kind in columns.items():
        texts = [row[name] for row in from_csv]
        values = [row[name] for row in from_json]
        if kind is Kind.DECIMAL:
            numbers = [Decimal(text) if text else None for text in texts]
            assert [None if v is None else Decimal(v) for v in values] == numbers
            assert frame[name].to_list() == numbers
        elif kind in {Kind.FLOAT, Kind.INTEGER}:
            assert frame[name].to_list() == values
            assert [None if text == "" else float(text) for text in texts] == values
        elif kind is Kind.TEXT:
            assert frame[name].to_list() == values
            assert [text or None for text in texts] == [value or None for value in values]


def test_events_come_whole(state: Path) -> None:
    rows = [json.loads(line) for line in _text(state, "events", "jsonl").splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, 21))
    assert rows[8]["payload"]["price"] == "100.02"
    assert all(row["prev"] == before["hash"] for before, row in pairwise(rows))


def test_period_takes_since_and_leaves_out_until(state: Path) -> None:
    period = Period("2026-01-01T00:00:00.800000000Z", "2026-01-01T00:00:01.700000000Z")
    for table, seqs in (("fills", [9, 11]), ("events", list(range(9, 18)))):
        rows = [json.loads(line) for line in _text(state, table, "jsonl", period).splitlines()]
        assert [row["seq"] for row in rows] == seqs
    assert json.loads(_text(state, "lots", "json", period)) == []
    late = Period(since="2026-01-01T00:00:01.700000000Z")
    assert len(json.loads(_text(state, "lots", "json", late))) == 2


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000000Z"),
        ("2026-01-31T09:30", "2026-01-31T09:30:00.000000000Z"),
        ("2026-01-31 09:30:05Z", "2026-01-31T09:30:05.000000000Z"),
        ("2026-01-31T09:30:05+02:00", "2026-01-31T07:30:05.000000000Z"),
        ("2026-01-31T09:30:05.123456789Z", "2026-01-31T09:30:05.123456789Z"),
        ("2026-01-31T09:30:05.5-01:00", "2026-01-31T10:30:05.500000000Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000000Z"),
    ],
)
def test_time_is_read_as_utc_to_the_nanosecond(text: str, time: str) -> None:
    assert parse_time(text, "--since") == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026", "2026-13-01", "2026-01-31T25:00", "2026-02-30", "20260131",
             "2026-01-31T09:30:05.1234567890Z", "2026-01-31T09", "9" * 50],
)  # fmt: skip
def test_what_is_no_time_is_the_users_mistake(text: str) -> None:
    with pytest.raises(UserError, match="--since was"):
        parse_time(text, "--since")


def test_file_is_replaced_as_a_whole(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "fills.csv"
    out.write_text("old")
    assert export(state, table="fills", file_format="csv", out=out) == 3
    assert out.read_text().startswith("seq,")
    assert not list(tmp_path.glob(".*.new"))


def test_file_stays_what_it_was_when_the_export_fails(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.parquet"
    out.write_text("old")
    with pytest.raises(UserError, match="no ledger"):
        export(tmp_path / "elsewhere", table="fills", file_format="parquet", out=out)
    assert out.read_text() == "old"
    assert not list(tmp_path.glob(".*.new"))


def test_place_that_cannot_be_written_is_the_users_mistake(state: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        export(state, table="fills", file_format="csv", out=tmp_path / "no" / "such" / "folder.csv")


def test_unknown_table_or_format_is_the_users_mistake(state: Path) -> None:
    with pytest.raises(UserError, match="there are events, decisions"):
        export(state, table="sqlite_schema", file_format="csv", out=io.BytesIO())
    with pytest.raises(UserError, match="there are csv"):
        export(state, table="fills", file_format="xlsx", out=io.BytesIO())
    assert FORMATS == ("csv", "json", "jsonl", "parquet")


def test_empty_ledger_exports_empty_tables(tmp_path: Path) -> None:
    factory.write(tmp_path, [])
    assert _text(tmp_path, "fills", "csv").startswith(FILLS_HEADER)
    assert json.loads(_text(tmp_path, "fills", "json")) == []
    assert _text(tmp_path, "fills", "jsonl") == ""
    out = io.BytesIO()
    assert export(tmp_path, table="fills", file_format="parquet", out=out) == 0
    assert pl.read_parquet(io.BytesIO(out.getvalue())).columns == list(TABLES["fills"].columns)


@pytest.mark.parametrize("number", ["1e-19", "1e20", "0.0000000000000000001"])
def test_decimal_too_long_for_parquet_is_refused_not_rounded(number: str) -> None:
    with pytest.raises(Failed, match="more digits"):
        write_parquet(io.BytesIO(), {"price": Kind.DECIMAL}, [(number,)])


def test_stream_stays_open_for_its_owner(state: Path) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as source, open(writer, "wb") as sink:  # noqa: PTH123 - descriptors
        export(state, table="lots", file_format="csv", out=sink)
        assert not sink.closed
        sink.close()
        assert source.read().startswith(b"open_seq,close_seq,opened_ts")


def test_filters_by_instrument_and_run_leave_out_the_others(tmp_path: Path) -> None:
    other = msgspec.structs.replace(factory.INSTRUMENT, name="OTH-USD", base="OTH")
    events: list[LedgerEvent] = []
    for run, instrument in (("run-1", factory.INSTRUMENT), ("run-2", other)):
        book = FifoBook(instrument)
        events += [
            factory.run_started(run, [instrument]),
            factory.filled(book, f"f-{run}", f"o-{run}", "d", Side.BUY, 10_000, 5),
        ]
    factory.write(tmp_path, [factory.Dated(event, 0) for event in events])
    for table, seqs in (("fills", [4]), ("events", [4])):
        found = json.loads(_text(tmp_path, table, "json", Period(instrument="OTH-USD")))
        assert [row["seq"] for row in found] == seqs
    lots = json.loads(_text(tmp_path, "lots", "json", Period(instrument="OTH-USD")))
    assert [row["open_seq"] for row in lots] == [4]
    for table, seqs in (("fills", [2]), ("events", [1, 2])):
        found = json.loads(_text(tmp_path, table, "json", Period(run="run-1")))
        assert [row["seq"] for row in found] == seqs
    lots = json.loads(_text(tmp_path, "lots", "json", Period(run="run-1")))
    assert [row["open_seq"] for row in lots] == [2]
    assert json.loads(_text(tmp_path, "fills", "json", Period(run="run-1", instrument="X"))) == []


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_parquet_of_many_batches_holds_every_row_in_order(
    state: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.export.formats.BATCH_ROWS", batch)
    for table in ("fills", "events", "decisions"):
        out = io.BytesIO()
        count = export(state, table=table, file_format="parquet", out=out)
        frame = pl.read_parquet(io.BytesIO(out.getvalue()))
        assert frame.height == count
        rows = json.loads(_text(state, table, "json"))
        assert frame["seq"].to_list() == [row["seq"] for row in rows]


@pytest.mark.parametrize("evil", ["=1+1", "1e5x", "@x", "--1", "1 2", "nan"])
def test_number_that_is_none_is_refused_not_written_for_a_spreadsheet_to_run(evil: str) -> None:
    columns = {"seq": Kind.INTEGER, "price": Kind.DECIMAL, "p_up": Kind.FLOAT}
    for row in ((1, evil, "0.5"), (1, "1", evil)):
        with pytest.raises(Failed, match="a number was none"):
            write_csv(io.StringIO(), columns, [row])
    write_csv(io.StringIO(), columns, [(-1, "-0.5", None), (None, None, "0.1")])


def test_progress_is_told_and_a_stream_is_left_open_when_it_fails(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.export.TELL_EVERY", 5)
    told: list[tuple[int, int]] = []
    out = io.BytesIO()
    export(state, table="events", file_format="csv", out=out,
           tell=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told == [(5, 20), (10, 20), (15, 20), (20, 20)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(state, table="events", file_format="csv", out=out, tell=stop)
    assert not out.closed

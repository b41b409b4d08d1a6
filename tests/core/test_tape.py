"""The tape: what goes in comes out, cut files end early, damage is told, the disk is bounded."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.instrument import Instrument
from core.model.market import MARKET_STATE
from core.tape import (
    FILES_A_RUN,
    MAX_AGE_NS,
    TapeError,
    TapeReader,
    TapeWriter,
    chunk_bytes,
    tape_files,
)

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
ETH = Instrument("binance", "ETHUSDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.0001"))
CHUNK = 4


def some_rows(count: int, seed: int = 3, step_ns: int = 1_000_000) -> np.ndarray:
    """Return rows with every field filled, times ``step_ns`` apart."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, MARKET_STATE)
    for name in MARKET_STATE.names or ():
        kind = MARKET_STATE[name].kind
        rows[name] = rng.normal(size=count) if kind == "f" else rng.integers(0, 2**31 - 1, count)
    rows["ts_recv_ns"] = 10**18 + step_ns * np.arange(count)
    return rows


def write(folder: Path, rows: np.ndarray, max_bytes: int = 2**20) -> TapeWriter:
    writer = TapeWriter(folder, [BTC, ETH], max_bytes, run_id="run", chunk_rows=CHUNK)
    for i in range(len(rows)):
        writer.append(rows[i : i + 1].reshape(()))
    writer.close()
    return writer


def read(path: Path) -> np.ndarray:
    return TapeReader(path).rows()


@given(count=st.integers(0, 23), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_rows_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    rows = some_rows(count, seed)
    writer = write(folder, rows)
    (path,) = tape_files(folder, "run")
    assert read(path).tobytes() == rows.tobytes()
    assert writer.counters.rows == count
    assert writer.counters.bytes_on_disk == path.stat().st_size


def test_header_names_run_and_instruments_in_row_order(tmp_path: Path) -> None:
    write(tmp_path, some_rows(1))
    info = TapeReader(tape_files(tmp_path, "run")[0]).info
    assert info.run_id == "run"
    assert info.first_chunk == 0
    assert [each.name for each in info.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert (info.instruments[1].tick_size, info.instruments[1].lot_size) == ("0.01", "0.0001")


@pytest.mark.slow
def test_file_cut_at_any_byte_of_the_last_chunk_reads_to_the_one_before(tmp_path: Path) -> None:
    rows = some_rows(2 * CHUNK)
    write(tmp_path, rows)
    (path,) = tape_files(tmp_path, "run")
    whole = path.read_bytes()
    cut = tmp_path / "cut.tape"
    for missing in range(1, chunk_bytes(CHUNK)):
        cut.write_bytes(whole[: len(whole) - missing])
        reader = TapeReader(cut)
        assert reader.rows().tobytes() == rows[:CHUNK].tobytes()
        assert reader.is_cut
    cut.write_bytes(whole[: len(whole) - chunk_bytes(CHUNK)])
    reader = TapeReader(cut)
    assert len(reader.rows()) == CHUNK
    assert not reader.is_cut


@pytest.mark.slow
def test_any_flipped_byte_is_told(tmp_path: Path) -> None:
    rows = some_rows(CHUNK + 1)
    write(tmp_path, rows)
    (path,) = tape_files(tmp_path, "run")
    whole = path.read_bytes()
    bad = tmp_path / "bad.tape"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        bad.write_bytes(damaged)
        with pytest.raises(TapeError, match=r"bad\.tape"):
            read(bad)


def test_chunks_before_the_damaged_one_are_read_and_the_damaged_one_is_named(
    tmp_path: Path,
) -> None:
    rows = some_rows(3 * CHUNK)
    write(tmp_path, rows)
    (path,) = tape_files(tmp_path, "run")
    damaged = bytearray(path.read_bytes())
    damaged[-chunk_bytes(CHUNK) - 1] ^= 1
    path.write_bytes(damaged)
    chunks = TapeReader(path).chunks()
    assert next(chunks).tobytes() == rows[:CHUNK].tobytes()
    with pytest.raises(TapeError, match="chunk 1 is damaged"):
        next(chunks)


def test_chunk_taken_out_of_the_middle_is_told(tmp_path: Path) -> None:
    write(tmp_path, some_rows(3 * CHUNK))
    (path,) = tape_files(tmp_path, "run")
    whole, size = path.read_bytes(), chunk_bytes(CHUNK)
    path.write_bytes(whole[: -2 * size] + whole[-size:])
    with pytest.raises(TapeError, match="chunk 1 is out of order: it says 2"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"TWTAPE\r\n", b"{}" * 60])
def test_file_that_is_no_tape_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tape"
    path.write_bytes(content)
    with pytest.raises(TapeError, match=r"odd\.tape: header is not that of a tape"):
        TapeReader(path)


def test_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="absent"):
        TapeReader(tmp_path / "absent.tape")


def test_partly_empty_chunk_holds_nothing_of_the_chunk_before(tmp_path: Path) -> None:
    write(tmp_path, some_rows(CHUNK + 1))
    (path,) = tape_files(tmp_path, "run")
    unused = (CHUNK - 1) * MARKET_STATE.itemsize
    assert path.read_bytes()[-unused:] == bytes(unused)


def test_rows_are_on_disk_when_they_span_the_age_without_a_full_chunk(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path, [BTC], run_id="run", chunk_rows=100)
    (path,) = tape_files(tmp_path, "run")
    rows = some_rows(3, step_ns=MAX_AGE_NS // 2)
    writer.append(rows[0])
    writer.append(rows[1])
    assert len(read(path)) == 0
    writer.append(rows[2])
    assert read(path).tobytes() == rows.tobytes()
    writer.close()


def test_oldest_files_go_when_the_disk_bound_is_reached(tmp_path: Path) -> None:
    max_bytes = FILES_A_RUN * 3 * chunk_bytes(CHUNK)
    other = tmp_path / "other-000000.tape"
    other.write_bytes(b"of another run")
    rows = some_rows(60 * CHUNK)
    writer = write(tmp_path, rows, max_bytes)
    files = tape_files(tmp_path, "run")
    assert sum(path.stat().st_size for path in files) == writer.counters.bytes_on_disk <= max_bytes
    assert writer.counters.files_removed == writer.counters.files - len(files) > 0
    assert other.exists()
    kept = np.concatenate([read(path) for path in files])
    assert len(kept) >= (FILES_A_RUN - 1) * 2 * CHUNK
    assert kept.tobytes() == rows[-len(kept) :].tobytes()
    firsts = [TapeReader(path).info.first_chunk for path in files]
    assert firsts[0] > 0
    assert firsts == sorted(set(firsts))


def test_second_writer_of_one_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path, some_rows(1))
    with pytest.raises(TapeError, match="run"):
        TapeWriter(tmp_path, [BTC], run_id="run")


def test_full_disk_ends_the_tape_but_not_the_trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some_rows(3 * CHUNK)
    writer = TapeWriter(tmp_path, [BTC], run_id="run", chunk_rows=CHUNK)
    for row in rows[:CHUNK]:
        writer.append(row)

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.tape.os.write", full)
    for row in rows[CHUNK:]:
        writer.append(row)
    writer.close()
    assert "No space left" in writer.failure
    assert writer.counters.rows_lost == 2 * CHUNK
    assert read(tape_files(tmp_path, "run")[0]).tobytes() == rows[:CHUNK].tobytes()


def test_chunk_that_went_half_to_a_full_disk_is_cut_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TapeWriter(tmp_path, [BTC], run_id="run", chunk_rows=CHUNK)
    real = os.write
    monkeypatch.setattr("core.tape.os.write", lambda file, data: real(file, bytes(data)[:50]))
    for row in some_rows(CHUNK):
        writer.append(row)
    reader = TapeReader(tape_files(tmp_path, "run")[0])
    assert len(reader.rows()) == 0
    assert not reader.is_cut
    assert "50 of" in writer.failure

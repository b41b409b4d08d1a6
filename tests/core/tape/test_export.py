"""Export: what polars reads back is what the tape holds, in bounded memory, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from core.errors import UserError
from core.model.market import MARKET_STATE
from core.tape import export as module
from core.tape.export import Wanted, export
from core.tape.format import TapeError, TapeInstrument
from core.tape.reader import TapeReader, tape_files
from tests.core.tape.made import CHUNK, T0, chunk_ends, some_rows, write

NAMES = ["BTCUSDT", "ETHUSDT"]


def back(frame: pl.DataFrame) -> np.ndarray:
    """Return a frame read back as MARKET_STATE[n]."""
    rows = np.zeros(len(frame), MARKET_STATE)
    for name in MARKET_STATE.names or ():
        column = frame[name]
        if name == "instrument":
            rows[name] = [NAMES.index(each) for each in column]
        else:
            rows[name] = column.to_numpy()
    return rows


@pytest.fixture
def rows() -> np.ndarray:
    found = some_rows(7 * CHUNK + 1)
    found["trade_pressure"][:6] = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]
    found["flags"][:3] = [0, 15, 2**32 - 1]
    return found


@pytest.fixture
def tapes(tmp_path: Path, rows: np.ndarray) -> list[Path]:
    write(tmp_path, rows, segment_bytes=1_500)
    files = tape_files(tmp_path, "run")
    assert len(files) > 2
    return files


@pytest.mark.parametrize("batch", [CHUNK, 10**6])
def test_parquet_reads_back_bit_for_bit_with_names_and_metadata(
    tapes: list[Path], rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", batch)
    out = tmp_path / "out.parquet"
    assert export(tapes, out, "parquet", Wanted(), None) == len(rows)
    frame = pl.read_parquet(out)
    assert back(frame).tobytes() == rows.tobytes()
    assert frame["instrument"].cast(pl.String).to_list() == [NAMES[i] for i in rows["instrument"]]
    metadata = pl.read_parquet_metadata(out)
    assert metadata["tapewright.run_id"] == "run"
    read = msgspec.json.decode(metadata["tapewright.instruments"], type=list[TapeInstrument])
    assert tuple(read) == TapeReader(tapes[0]).info.instruments


def test_csv_and_json_lines_read_back_bit_for_bit(
    tapes: list[Path], rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", CHUNK)
    csv, jsonl = tmp_path / "out.csv", tmp_path / "out.jsonl"
    schema = {name: pl.Int64 for name in MARKET_STATE.names or () if name != "instrument"}
    schema |= {n: pl.Float64 for n in schema if MARKET_STATE[n].kind == "f"}
    assert export(tapes, csv, "csv", Wanted(), None) == len(rows)
    assert back(pl.read_csv(csv, schema_overrides=schema)).tobytes() == rows.tobytes()
    assert export(tapes, jsonl, "jsonl", Wanted(), None) == len(rows)
    assert back(pl.read_ndjson(jsonl, schema_overrides=schema)).tobytes() == rows.tobytes()


def test_time_and_instrument_choose_rows(
    tapes: list[Path], rows: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    since, until = T0 + 5_000_000, T0 + 20_000_000
    export(tapes, out, "parquet", Wanted(since, until, "ETHUSDT"), None)
    received = rows["ts_recv_ns"]
    chosen = rows[(received >= since) & (received < until) & (rows["instrument"] == 1)]
    assert len(chosen) > 3
    assert back(pl.read_parquet(out)).tobytes() == chosen.tobytes()


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_nothing_chosen_makes_a_file_without_rows(
    tapes: list[Path], tmp_path: Path, file_format: str
) -> None:
    out = tmp_path / "out"
    assert export(tapes, out, file_format, Wanted(until_ns=0), None) == 0
    assert out.exists()
    if file_format == "parquet":
        assert pl.read_parquet(out).columns == list(MARKET_STATE.names or ())


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_damage_is_named_and_leaves_the_old_file(
    tapes: list[Path], tmp_path: Path, file_format: str
) -> None:
    data = bytearray(tapes[1].read_bytes())
    data[chunk_ends(tapes[1])[1] - 1] ^= 1
    tapes[1].write_bytes(data)
    out = tmp_path / "out"
    out.write_bytes(b"older")
    with pytest.raises(TapeError, match=rf"{tapes[1].name}: chunk \d+ is damaged"):
        export(tapes, out, file_format, Wanted(), None)
    assert out.read_bytes() == b"older"
    assert not list(tmp_path.glob("*.part"))


def test_damage_can_be_left_out_and_told(
    tapes: list[Path], rows: np.ndarray, tmp_path: Path
) -> None:
    data = bytearray(tapes[1].read_bytes())
    data[chunk_ends(tapes[1])[1] - 1] ^= 1
    tapes[1].write_bytes(data)
    told: list[str] = []
    count = export(tapes, tmp_path / "out", "parquet", Wanted(), told.append)
    assert count == len(rows) - CHUNK
    assert len(told) == 1


def test_unknown_instrument_is_refused_with_those_there_are(
    tapes: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(TapeError, match="no instrument 'XRP', it has BTCUSDT, ETHUSDT"):
        export(tapes, tmp_path / "out", "csv", Wanted(instrument="XRP"), None)


def test_place_that_cannot_be_written_is_named(tapes: list[Path], tmp_path: Path) -> None:
    for file_format in ("parquet", "csv"):
        with pytest.raises(UserError, match="absent/out: cannot be written"):
            export(tapes, tmp_path / "absent" / "out", file_format, Wanted(), None)

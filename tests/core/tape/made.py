"""Rows, instruments and finished tapes for the tests of the tape."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from core.model.instrument import Instrument
from core.model.market import MARKET_STATE
from core.tape.format import CHUNK_HEAD, read_chunk_head, read_header
from core.tape.reader import TapeReader
from core.tape.writer import TapeWriter

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
ETH = Instrument("binance", "ETHUSDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.0001"))
CHUNK = 4
T0 = 10**18


def some_rows(count: int, seed: int = 3, step_ns: int = 1_000_000) -> np.ndarray:
    """Return rows with every field filled at random, times ``step_ns`` apart."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, MARKET_STATE)
    for name in MARKET_STATE.names or ():
        kind = MARKET_STATE[name].kind
        rows[name] = rng.normal(size=count) if kind == "f" else rng.integers(0, 2**31 - 1, count)
    rows["instrument"] = rng.integers(0, 2, count)
    rows["ts_recv_ns"] = T0 + step_ns * np.arange(count)
    return rows


def write(folder: Path, rows: np.ndarray, segment_bytes: int = 2**20) -> TapeWriter:
    """Write ``rows`` as the run ``run``, in chunks of ``CHUNK``, and close it."""
    writer = TapeWriter(
        folder, [BTC, ETH], run_id="run", chunk_rows=CHUNK, segment_bytes=segment_bytes
    )
    for i in range(len(rows)):
        writer.append(rows[i : i + 1].reshape(()))
    writer.close()
    return writer


def read(path: Path) -> np.ndarray:
    return TapeReader(path).rows()


def chunk_ends(path: Path) -> list[int]:
    """Return where each chunk of a whole file ends, the header first, the end mark last."""
    data = path.read_bytes()
    _, place = read_header(data)
    ends = [place]
    while place < len(data):
        head = read_chunk_head(data[place : place + CHUNK_HEAD])
        place += CHUNK_HEAD + head.size
        ends.append(place)
    return ends

"""What the tape costs: bytes a row, bytes a day, nanoseconds a row.

    python bench/bench_tape.py CAPTURE...

The rows of each capture are made as in a run and written to a tape in a temporary folder, with
time told every 20 ms of the capture's own clock, as the engine does: so chunks have the sizes they
have live. The size of a day is bytes of the file over the span of its rows, times 86,400 s; what
the market does in other hours it does not know. Costs are of this process, medians of the runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from core.config import Settings
from core.feeds.capture import read_capture
from core.feeds.registry import protocol_for
from core.feeds.replaying import give, without_last_close
from core.model.instrument import Instrument
from core.model.market import MARKET_STATE, BookMoved
from core.tape.reader import TapeReader, tape_files
from core.tape.rows import pack_rows, unpack_rows
from core.tape.writer import CHUNK_ROWS, TapeWriter

TICK_NS = 20_000_000
RUNS = 5


def rows_of(path: Path) -> tuple[np.ndarray, list[Instrument]]:
    """Return the rows that a run over the capture makes, MARKET_STATE[n]."""
    reader = read_capture(path)
    protocol = protocol_for(reader.meta.venue, list(reader.meta.instruments), Settings())
    for index, feed in enumerate(protocol.instruments):
        feed.book.place = index  # as the engine does
    rows = []
    for record in without_last_close(reader):
        for output in give(protocol, record):
            if isinstance(output, BookMoved):
                rows.append(protocol.instruments[output.instrument].book.row.copy())
    return np.array(rows, MARKET_STATE), list(reader.meta.instruments)


def write(rows: np.ndarray, instruments: list[Instrument], folder: Path) -> tuple[int, float]:
    """Write a tape; return its bytes and the nanoseconds a row that ``append`` took."""
    writer = TapeWriter(folder, instruments, run_id="bench")
    spent = 0
    due_ns = int(rows["ts_recv_ns"][0])
    each = [rows[i : i + 1].reshape(()) for i in range(len(rows))]
    received = rows["ts_recv_ns"].tolist()
    for row, now_ns in zip(each, received, strict=True):
        while due_ns <= now_ns:
            writer.on_time(due_ns)
            due_ns += TICK_NS
        start = time.perf_counter_ns()
        writer.append(row)
        spent += time.perf_counter_ns() - start
    writer.close()
    files = tape_files(folder, "bench")
    found = np.concatenate([TapeReader(path).rows() for path in files])
    if found.tobytes() != rows.tobytes():
        raise SystemExit("the tape read back differs")
    return sum(path.stat().st_size for path in files), spent / len(rows)


def packing(rows: np.ndarray) -> tuple[float, float]:
    """Return nanoseconds a row of packing and unpacking, in whole chunks."""
    took = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        parts = [pack_rows(rows[i : i + CHUNK_ROWS]) for i in range(0, len(rows), CHUNK_ROWS)]
        middle = time.perf_counter_ns()
        for i, part in enumerate(parts):
            unpack_rows(part, min(CHUNK_ROWS, len(rows) - i * CHUNK_ROWS))
        took.append((middle - start, time.perf_counter_ns() - middle))
    return tuple(statistics.median(each) / len(rows) for each in zip(*took, strict=True))  # type: ignore[return-value]


def main() -> None:
    """Measure each capture and print a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("captures", nargs="+", type=Path, metavar="CAPTURE")
    for path in parser.parse_args().captures:
        rows, instruments = rows_of(path)
        results = []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as folder:
                results.append(write(rows, instruments, Path(folder)))
        n_bytes = results[0][0]
        append_ns = statistics.median(each[1] for each in results)
        pack_ns, unpack_ns = packing(rows)
        span_s = float(rows["ts_recv_ns"][-1] - rows["ts_recv_ns"][0]) / 1e9
        print(
            f"{path.name}: {len(rows)} rows, {len(rows) / span_s:.1f}/s, "
            f"{n_bytes / len(rows):.1f} bytes a row ({MARKET_STATE.itemsize} in memory), "
            f"{n_bytes / span_s * 86_400 / 1e6:.1f} MB a day; "
            f"append {append_ns:.0f}, pack {pack_ns:.0f}, unpack {unpack_ns:.0f} ns a row"
        )


if __name__ == "__main__":
    main()

"""Frame to features beside other people's books: same messages, one process, one run.

    python bench/bench_peers.py CAPTURE [--passes 5] [--limit MESSAGES] [--peers NAME,...]
        [--at-most MICROSECONDS] [--at-least TIMES] [--json FILE]

Takes a Binance or Coinbase capture; every contender gets the same depth messages after the same
beginning (bench/peers/scenario.py). A pass is a new book and one timed call a message; passes of
the contenders alternate, and beside each runs an ``orjson.loads`` pass over the same messages:
ratios survive a busy machine, microseconds do not. The collector runs as it would in a program;
what existed before a pass is frozen, so nobody pays for another's objects.

At the end the SHA-256 over all levels of ours must equal a naive Decimal reading's, or exit 1. A
peer that differs is reported as a difference of the peer. What is not installed is said. With
``--at-most`` and ``--at-least`` the exit code is also 1 where our median is above, or the quickest
peer's median not that many times ours.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers import reference
from bench.peers.face import PEERS, Contender, find_peers, version
from bench.peers.ours import Ours
from bench.peers.scenario import Frame, Scenario, load
from core.errors import TapewrightError

try:
    from orjson import loads as orjson_loads
except ImportError:
    orjson_loads = None

PERCENTILES = (50, 99, 99.9)


class Row(NamedTuple):
    """One line of the table; microseconds a message, medians over the passes."""

    name: str
    does: str
    p50: float
    p99: float
    p99_9: float
    mean: float
    x_orjson: float | None
    """Median of the message over median of the ``orjson.loads`` pass beside it."""
    digest: str
    difference: str
    """How the final book differs from the reference; empty where it does not."""


def timed(receive: Callable[[Any], object], inputs: Sequence[Any]) -> np.ndarray:
    """Return the microseconds of each call, the timer's own included."""
    took = np.empty(len(inputs))
    clock = time.perf_counter_ns
    gc.collect()
    gc.freeze()
    for at, one in enumerate(inputs):
        start = clock()
        receive(one)
        took[at] = clock() - start
    gc.unfreeze()
    return took / 1000


def measure(
    scenario: Scenario, contenders: Sequence[Contender], passes: int
) -> dict[str, list[tuple[np.ndarray, np.ndarray | None]]]:
    """Return, by contender, each pass's times and those of the orjson pass beside it."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {c.name: [] for c in contenders}
    frames = [frame.data for frame in scenario.messages]
    inputs = {one.name: one.inputs(scenario.messages) for one in contenders}
    # One pass that does not count: compiled, imported, warm.
    for number in range(passes + 1):
        for one in contenders:
            one.start(scenario)
            beside = timed(orjson_loads, frames) if orjson_loads else None
            took = timed(one.receive, inputs[one.name])
            if number:
                found[one.name].append((took, beside))
    return found


def row(one: Contender, passes: list[tuple[np.ndarray, np.ndarray | None]], differs: str) -> Row:
    points = np.median([np.percentile(took, PERCENTILES) for took, _ in passes], axis=0)
    ratios = [np.median(took) / np.median(beside) for took, beside in passes if beside is not None]
    return Row(
        one.name,
        one.does,
        *(float(point) for point in points),
        statistics.median(float(took.mean()) for took, _ in passes),
        float(statistics.median(ratios)) if ratios else None,
        reference.digest(one.books()),
        differs,
    )


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table; the first row is ours."""
    ours = rows[0]
    lines = [
        f"{'us a message':26s} {'p50':>8s} {'p99':>8s} {'p99.9':>8s} {'mean':>8s} "
        f"{'x orjson':>8s} {'x ours':>7s} {'x mean':>7s}  final book"
    ]
    for one in rows:
        ratio = "-" if one.x_orjson is None else f"{one.x_orjson:.2f}"
        book = f"{one.digest[:12]} {'DIFFERS' if one.difference else 'equal'}"
        lines.append(
            f"{one.name:26s} {one.p50:8.2f} {one.p99:8.2f} {one.p99_9:8.2f} {one.mean:8.2f} "
            f"{ratio:>8s} {one.p50 / ours.p50:7.1f} {one.mean / ours.mean:7.1f}  {book}"
        )
    return lines


def timer_us() -> float:
    """Return what one timed call costs when the call does nothing."""
    return float(np.median(timed(bool, [0] * 20_000)))


def quickest(rows: Sequence[Row]) -> Row | None:
    """Return the quickest peer that reads frames."""
    return min((one for one in rows[1:] if "no decode" not in one.name), key=_p50, default=None)


def _p50(one: Row) -> float:
    return one.p50


def failed(rows: Sequence[Row], at_most_us: float | None, at_least: float | None) -> Iterator[str]:
    """Yield what was asked for and not reached."""
    ours = rows[0]
    if ours.difference:
        yield f"our book differs from the reading: {ours.difference}"
    if at_most_us is not None and ours.p50 > at_most_us:
        yield f"our median was {ours.p50:.2f} us, allowed is {at_most_us:g}"
    best = quickest(rows)
    if at_least is not None and (best is None or best.p50 < at_least * ours.p50):
        yield f"the quickest peer was not {at_least:g} times slower than ours"


def about(scenario: Scenario, passes: int) -> dict[str, object]:
    frames: list[Frame] = scenario.messages
    return {
        "capture": scenario.name,
        "messages": len(frames),
        "bytes_mean": round(sum(len(frame.data) for frame in frames) / len(frames)),
        "passes": passes,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "timer_us": round(timer_us(), 3),
        "versions": {name: version(name) for name in (*PEERS, "orjson", "numpy", "numba")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--limit", type=int, default=100_000, help="messages at most")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, or none")
    parser.add_argument("--at-most", type=float, help="median of ours in us, else exit 1")
    parser.add_argument("--at-least", type=float, help="quickest peer over ours, else exit 1")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()
    try:
        scenario = load(options.capture, options.limit)
    except (TapewrightError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    peers, absent = find_peers(scenario, [name for name in options.peers.split(",") if name])
    contenders: list[Contender] = [Ours(), *peers]
    facts = about(scenario, options.passes)
    versions = facts.pop("versions")
    print("  ".join(f"{key} {value}" for key, value in facts.items()))
    print("  ".join(f"{name} {number or 'absent'}" for name, number in versions.items()))
    for line in absent:
        print(f"absent: {line}")
    if orjson_loads is None:
        print("absent: orjson, so there is no ratio to it")
    passes = measure(scenario, contenders, options.passes)
    exact = reference.read(scenario, on_lots=False)
    on_lots = reference.read(scenario, on_lots=True)
    rows = [
        row(one, passes[one.name], reference.difference(one.books(), exact if at else on_lots))
        for at, one in enumerate(contenders)
    ]
    print()
    print("\n".join(table(rows)))
    print()
    for one in rows:
        print(f"{one.name}: {one.does}")
    for one in rows[1:]:
        if one.difference:
            print(f"the book of {one.name} differs from the venue's: {one.difference}")
    if exact != on_lots:
        print("quantities off the lot grid are floored in ours, and in the reading it is held to")
    if best := quickest(rows):
        print(
            f"quickest peer: {best.name}, {best.p50 / rows[0].p50:.1f} times ours at the median, "
            f"{best.mean / rows[0].mean:.1f} times at the mean"
        )
    if options.json:
        found = {**facts, "versions": versions, "rows": [one._asdict() for one in rows]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    failures = list(failed(rows, options.at_most, options.at_least))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

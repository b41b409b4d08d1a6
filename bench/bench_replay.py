"""Replay of a whole capture by the product's own path: frames a second, resident memory.

    python bench/bench_replay.py CAPTURE [--runs 3] [--at-least FRAMES] [--at-most-mib 400]

Each run is ``tapewright replay CAPTURE --mode observe --headless`` in a fresh process: engine,
signals, agent, paper broker, ledger. Two figures: with the records read and decompressed before
the clock starts, frames a second; from the file as a user runs it, frames a second and the
highest resident memory. Medians of the runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.feeds.capture import CaptureReader, Record


class ReadBefore(CaptureReader):
    """A capture whose records lie in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held = list(super().__iter__())

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in order."""
        yield from self._held


def child(capture: Path, is_held: bool) -> dict[str, float]:
    """Replay once in this process."""
    import cli.replay as product
    from cli.options import ReplayOptions

    took: list[float] = []
    plain = product.run_replay

    async def timed(*args: Any, **kwargs: Any) -> None:
        start = time.perf_counter()
        await plain(*args, **kwargs)
        took.append(time.perf_counter() - start)

    product.run_replay = timed
    if is_held:
        product.read_capture = ReadBefore
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        options = ReplayOptions(
            capture=capture, headless=True, state=Path(folder) / "state", summary=str(summary)
        )
        assert product.replay_command(options) == 0
        frames = json.loads(summary.read_text())["frames"]
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": frames, "seconds": took[0], "mib": mib}


def run(capture: Path, is_held: bool) -> dict[str, float]:
    words = [sys.executable, __file__, str(capture), "--child", "held" if is_held else "file"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--at-least", type=float, default=0, help="frames a second, held")
    parser.add_argument("--at-most-mib", type=float, help="highest resident memory, from the file")
    parser.add_argument("--child", choices=("held", "file"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.capture, options.child == "held")))
        return 0
    run(options.capture, is_held=True)  # compiles what is not compiled yet
    rates, highest = {}, 0.0
    for is_held, name in ((True, "after decompression"), (False, "from the file")):
        runs = [run(options.capture, is_held) for _ in range(options.runs)]
        rates[name] = statistics.median(one["frames"] / one["seconds"] for one in runs)
        highest = max(one["mib"] for one in runs)
        print(
            f"{options.capture.name} {name}: {runs[0]['frames']:,} frames, "
            f"{rates[name]:,.0f} a second, {highest:.0f} MiB resident at most"
        )
    is_slow = rates["after decompression"] < options.at_least
    is_large = options.at_most_mib is not None and highest > options.at_most_mib
    return int(is_slow or is_large)


if __name__ == "__main__":
    sys.exit(main())

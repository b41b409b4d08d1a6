"""A backtest beside live paced replays of the same capture: events a second, and equal ledgers.

    python -m bench.backtest_paced CAPTURE [--speed 10] [--seed 7] [--runs 3] [--config FILE]

The backtest runs ``--runs`` times by the command, as a user runs it (reading, engine, broker,
ledger, report). Then ``tapewright replay`` runs it at full speed, at the pace of the tape times
``--speed`` without a screen, and so once more with snapshots pulled ten times a second, as a screen
does.
Each into an empty state directory. Exit code 1 unless all heads and all fills are equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.control import GetSnapshot, request
from core.errors import TapewrightError

LOOK_S = 0.1
PRACTICE = "[strategy]\nthreshold = 0.02\nmin_edge_bps = -1000\nmin_skill = -1\n"
"""So that it trades at all: without an edge, on paper."""


def main() -> int:
    """Run all and compare; return the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="tapewright-paced-") as folder:
        root = Path(folder)
        config = options.config or root / "practice.toml"
        if options.config is None:
            config.write_text(PRACTICE)
        common = ["--config", str(config), "--seed", str(options.seed)]
        heads, fills = {}, {}
        for run in range(options.runs):
            name = f"backtest {run + 1}"
            heads[name], fills[name] = _backtest(options.capture, root / f"b{run}", common)
        paces = (("max", False), (options.speed, False), (options.speed, True))
        for place, (speed, is_watched) in enumerate(paces):
            name = f"replay --speed {speed}" + (", watched" if is_watched else "")
            state = root / f"r{place}"
            _replay(options.capture, state, [*common, "--speed", speed], name, is_watched)
            heads[name], fills[name] = _head(state), _fills(state)
    for name, head in heads.items():
        print(f"{name:<32} head {head}  fills {fills[name].count(chr(10)) - 1}")
    is_equal = len(set(heads.values())) == len(set(fills.values())) == 1
    print("equal, head and fills" if is_equal else "NOT EQUAL")
    return 0 if is_equal else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("capture", type=Path)
    parser.add_argument("--speed", default="10", choices=["1", "10"])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--config", type=Path)
    return parser.parse_args()


def _backtest(capture: Path, state: Path, common: list[str]) -> tuple[str, str]:
    start, cpu_s = time.perf_counter(), _children_s()
    text = _run("backtest", str(capture), "--state", str(state), "--json", "-", *common)
    took_s, cpu_s = time.perf_counter() - start, _children_s() - cpu_s
    (file,) = json.loads(text)["files"]
    frames = file["feed"]["frames"]
    print(
        f"backtest: {frames:,} frames in {took_s:.2f} s = {frames / took_s:,.0f} a second; "
        f"{cpu_s:.2f} s of one core = {frames / cpu_s:,.0f} a second"
    )
    (kept,) = state.iterdir()
    assert json.loads(_head(kept)) == file["ledger"]
    return _head(kept), _fills(kept)


def _children_s() -> float:
    """Return the processor time of the programs started so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _replay(capture: Path, state: Path, words: list[str], name: str, is_watched: bool) -> None:
    command = _command(
        "replay", str(capture), "--headless", "--mode", "auto", "--state", str(state), *words
    )
    start, looks = time.perf_counter(), 0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(LOOK_S)
            if is_watched:
                looks += _look(state)
    print(f"{name}: {time.perf_counter() - start:.1f} s, {looks} snapshots pulled")
    if process.returncode:
        raise SystemExit(f"{name} ended with code {process.returncode}")


def _look(state: Path) -> bool:
    try:
        request(state, GetSnapshot())
    except (TapewrightError, OSError):
        return False
    return True


def _head(state: Path) -> str:
    return _run("ledger", "head", "--state", str(state)).strip()


def _fills(state: Path) -> str:
    return _run("ledger", "export", "--table", "fills", "--out", "-", "--state", str(state))


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words]


def _run(*words: str) -> str:
    return subprocess.run(_command(*words), capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())

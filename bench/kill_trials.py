"""Kill at random instants while orders stream; or run the engine's state machine for long.

python bench/kill_trials.py [trials] [--count N] [--seed S]
python bench/kill_trials.py machine [--runs N] [--steps N]

Exit code 1 if an order for new risk left after the gate closed, or a trial did not end flat.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from typing_extensions import override

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.latch import KillLatch
from tests.properties.stage import Stage
from tests.properties.test_engine_machine import run as run_machine
from tests.properties.test_kill_trials import kill_by_command, run_trials


class TimedLatch(KillLatch):
    """The latch on disk; it is tripped by the statement after the gate closes."""

    tripped_at = 0

    @override
    def trip(self, reason: str, actor: str, ts_ns: int, *, flattens: bool = False) -> bool:
        self.tripped_at = time.perf_counter_ns()
        return super().trip(reason, actor, ts_ns, flattens=flattens)


def trials(count: int, seed: int) -> int:
    is_bad = False
    for waits in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            latch = TimedLatch(Path(folder))
            gate_us: list[float] = []
            all_us: list[float] = []

            def timed(stage: Stage, latch: TimedLatch = latch, gate_us: list[float] = gate_us,
                      all_us: list[float] = all_us) -> None:  # fmt: skip
                start = time.perf_counter_ns()
                kill_by_command(stage)
                all_us.append((time.perf_counter_ns() - start) / 1000)
                gate_us.append((latch.tripped_at - start) / 1000)

            left, after, not_flat = run_trials(count, seed, waits=waits, kill=timed, latch=latch)
        gate = np.percentile(gate_us, [50, 99, 100])
        whole = np.percentile(all_us, [50, 99, 100])
        name = "slow ledger, settled in the loop" if waits else "settled at once"
        print(f"{name}: {count} kills, {left} orders left, {after} after the gate closed, "
              f"{not_flat} not flat")  # fmt: skip
        print(f"  gate closed after p50 {gate[0]:.0f} us, p99 {gate[1]:.0f} us, max {gate[2]:.0f}")
        print(f"  latched, canceled, closing after p50 {whole[0]:.0f} us, p99 {whole[1]:.0f} us, "
              f"max {whole[2]:.0f}")  # fmt: skip
        is_bad = is_bad or bool(after or not_flat)
    return int(is_bad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["trials", "machine"], default="trials")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=100)
    words = parser.parse_args()
    if words.what == "trials":
        return trials(words.count, words.seed)
    start = time.perf_counter()
    run_machine(words.runs, words.steps, seed=words.seed)
    print(f"{words.runs} runs of up to {words.steps} steps, no invariant broken, "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

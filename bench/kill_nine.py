"""Kill the engine at random moments in auto mode; after each restart check ledger and positions.

python bench/kill_nine.py [N] [SEED]. Exit code 1 at the first disagreement.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.journeys.program import practice, start, tapewright, wait_for

QUICK = "[sim]\nhistory_s = 120\nspeed = 20\n"


def positions_by_fills(state: Path) -> dict[str, int]:
    """Return lots by instrument, re-added from the exported fills."""
    words = ("ledger", "export", "--table", "fills", "--format", "jsonl", "--out", "-")
    lots: dict[str, int] = {}
    for line in tapewright(*words, "--state", state).stdout.splitlines():
        row = json.loads(line)
        sign = 1 if row["side"] == "BUY" else -1
        lots[row["instrument"]] = lots.get(row["instrument"], 0) + sign * round(
            float(row["quantity"]) * 1000
        )
    return {name: count for name, count in lots.items() if count}


def main(count: int, seed: int) -> int:
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        state, config = Path(folder) / "s", practice(Path(folder))
        config.write_text(config.read_text(encoding="utf-8") + QUICK, encoding="utf-8")
        expected: dict[str, int] = {}
        for number in range(1, count + 1):
            engine = start("run", "--headless", "--mode", "auto", "--state", state,
                           "--config", config)  # fmt: skip
            began = time.monotonic()
            picture = wait_for(state, engine, lambda p: p.instruments[0].bids)
            ready_s = time.monotonic() - began
            held = {view.instrument: view.lots for view in picture.positions if view.lots}
            if held != expected:
                print(f"{number}: engine holds {held}, fills say {expected}")
                return 1
            time.sleep(generator.uniform(0.2, 4.0))
            engine.send_signal(signal.SIGKILL)
            engine.communicate()
            verified = tapewright("ledger", "verify", "--state", state)
            expected = positions_by_fills(state)
            print(f"{number}: ready in {ready_s:.1f} s, {verified.stdout.strip()[:60]}, {expected}")
            if verified.returncode:
                print(verified.stdout)
                return 1
    print(f"{count} kills, every restart verified, positions equal the fills")
    return 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [20, 1][len(numbers) :])))

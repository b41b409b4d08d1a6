"""Runs with a trader who says random things, each lived through again for its receipt.

    python bench/receipt_trials.py [--kind sim|live|joined] [--trials 3] [--seconds 40]
        [--fault drop:0.01]

``sim`` is the simulated market, ``live`` a venue on the loopback (``tapewright stub``) that speaks
Binance's protocol, ``joined`` two venues in one run, Binance's and Coinbase's. Proposals are
confirmed or rejected, positions closed, everything killed and re-armed, modes changed, connections
replaced, at random moments. Then ``tapewright ledger replay
last`` must find every decision point and every event equal. Exit code 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.control import (
    AnyCommand,
    CloseTrade,
    Confirm,
    GetSnapshot,
    KillAll,
    Picture,
    Rearm,
    Reject,
    SetMode,
    request,
)
from core.errors import TryAgain
from core.model.decision import Mode

CONFIG = """[strategy]
threshold = 0.02
min_edge_bps = -1000
min_skill = -1
hold_s = 5
cooldown_s = 1
cadence_ms = 100
[sim]
history_s = 120
[blend]
min_labels = 20
skill_window = 100
[feed]
renew_after_s = 12
[risk]
max_clock_ahead_ms = 600000
max_clock_behind_ms = 600000
"""
VENUES = {"sim": (), "live": ("binance",), "joined": ("binance", "coinbase")}
LOOK_S = 0.1
ROOT = Path(__file__).resolve().parents[1]


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ,
    )  # fmt: skip


def say(state: Path, command: AnyCommand) -> object:
    return request(state, command, timeout_s=10)


def words_for(state: Path, draw: random.Random) -> list[AnyCommand]:
    """Return what the trader says at this look."""
    reply = say(state, GetSnapshot())
    assert isinstance(reply, Picture)
    said: list[AnyCommand] = []
    for proposal in reply.snapshot.proposals:
        key = proposal.decision_id
        said.append(Confirm(key) if draw.random() < 0.8 else Reject(key, "no"))
    for view in reply.snapshot.instruments:
        if draw.random() < 0.02:
            said.append(CloseTrade(view.name))
    chance = draw.random()
    if chance < 0.01:
        said.append(KillAll())
    elif chance < 0.04:
        said.append(Rearm("go on"))
    elif chance < 0.06:
        said.append(SetMode(draw.choice([Mode.AUTO, Mode.CONFIRM])))
    return said


def trial(kind: str, seconds: float, seed: int, faults: list[str], folder: Path) -> bool:
    """Run once and replay; return whether everything was equal."""
    draw, state, config = random.Random(seed), folder / f"s{seed}", folder / "c.toml"
    config.write_text(CONFIG, encoding="utf-8")
    words: list[str | Path] = [
        "run", "--headless", "--state", state, "--config", config, "--mode", "confirm",
        "--duration", str(seconds), "--seed", str(seed),
    ]  # fmt: skip
    stubs = []
    given = [word for fault in faults for word in ("--fault", fault)]
    places = []
    for venue in VENUES[kind]:
        stub = start("stub", "--venue", venue, "--speed", "4", "--seed", str(seed), *given)
        assert stub.stdout is not None
        places.append(f"{venue}={stub.stdout.readline().strip()}")
        stubs.append(stub)
        words += ["--venue", venue]
    if places:
        words += ["--endpoint", ",".join(places)]
    if kind == "joined":
        words += ["--symbol", "binance:BTCUSDT", "--symbol", "coinbase:BTC-USD"]
    engine, count = start(*words), 0
    try:
        while engine.poll() is None:
            time.sleep(LOOK_S)
            try:
                for command in words_for(state, draw):
                    say(state, command)
                    count += 1
            except TryAgain:
                continue
    finally:
        for process in (engine, *stubs):
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)
    receipt = folder / f"receipt{seed}.json"
    done = start("ledger", "replay", "last", "--state", state, "--out", receipt)
    told, narration = done.communicate(timeout=600)
    if done.returncode:
        print(told, narration)
    counts = json.loads(receipt.read_bytes())["receipt"]["counts"] if receipt.exists() else {}
    print(f"{kind} seed {seed}: {count} words, {counts}, exit {done.returncode}", flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=tuple(VENUES), action="append")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", action="append", default=[])
    options = parser.parse_args()
    equal = []
    for kind in options.kind or VENUES:
        for number in range(options.trials):
            with tempfile.TemporaryDirectory(prefix="tw") as folder:
                seed = options.seed + number
                equal.append(trial(kind, options.seconds, seed, options.fault, Path(folder)))
    print(f"{sum(equal)} of {len(equal)} runs replayed with everything equal")
    return int(not all(equal))


if __name__ == "__main__":
    sys.exit(main())

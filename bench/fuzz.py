"""Long seeded hunts for faults in the feeds.

``faults`` plays every fault at every venue model and judges each step (tests/faults); ``frames``
feeds mutated frames to a protocol and compares its books with a plain replay. Exit code 1 when
something was wrong; each finding names the seed that shows it again.

    python bench/fuzz.py faults --runs 500
    python bench/fuzz.py frames --n 1000000 --venue binance
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the models live beside the tests that use them

from tests.faults.damage import Tally, hunt, material  # noqa: E402 (path above)
from tests.faults.faults import FAULTS  # noqa: E402
from tests.faults.running import Outcome, Run  # noqa: E402
from tests.faults.venue_model import MODELS  # noqa: E402

SHOWN = 5
CAPTURES = ROOT / ".." / "shared" / "captures"


def seconds(values: list[int]) -> str:
    """Return median and maximum of times in ns, as seconds."""
    if not values:
        return "-"
    return f"{np.median(values) / 1e9:.2f}/{max(values) / 1e9:.2f}"


def play(venue: str, name: str, runs: int, first: int) -> list[Outcome]:
    outcomes = []
    for seed in range(first, first + runs):
        try:
            outcomes.append(Run(venue, FAULTS[name], seed).play())
        except Exception as error:  # noqa: BLE001 (a finding, with the seed that shows it)
            wrong = [f"exception: {type(error).__name__}: {error}"]
            outcomes.append(Outcome(venue, name, seed, wrong=wrong))
    return outcomes


def faults(options: argparse.Namespace) -> int:
    print(f"{'venue':18s}{'fault':16s}{'runs':>6s}{'wrong':>6s}  seconds, median/max:")
    print(f"{'':46s}  {'detect':>12s} {'outage':>12s} {'recover':>12s}")
    findings: list[str] = []
    began = time.perf_counter()
    total = steps = 0
    for venue in options.venue or MODELS:
        for name, fault in FAULTS.items():
            if venue not in fault.venues or (options.fault and name not in options.fault):
                continue
            outcomes = play(venue, name, options.runs, options.first)
            wrong = [each for each in outcomes if each.wrong]
            detects = [each.detect_ns for each in outcomes if each.detect_ns is not None]
            recovers = [each.recover_ns for each in outcomes if each.recover_ns is not None]
            outages = [each for outcome in outcomes for each in outcome.outages_ns]
            print(
                f"{venue:18s}{name:16s}{len(outcomes):6d}{len(wrong):6d}  "
                f"{seconds(detects):>12s} {seconds(outages):>12s} {seconds(recovers):>12s}",
                flush=True,
            )
            findings += [
                f"{venue} {name} seed {each.seed}: {each.wrong[0]}" for each in wrong[:SHOWN]
            ]
            total += len(outcomes)
            steps += sum(each.steps for each in outcomes)
    for finding in findings:
        print(f"WRONG {finding}", file=sys.stderr)
    took = time.perf_counter() - began
    print(f"{total} runs, {steps} steps, {took:.0f} s, {total / took:.1f} runs/s")
    return 1 if findings else 0


def frames(options: argparse.Namespace) -> int:
    status = 0
    for venue in options.venue or ["binance", "coinbase", "coinbase-exchange", "alpaca", "sim"]:
        seed, left = options.first, options.n
        began = time.perf_counter()
        tally = Tally()
        while left > 0:
            size = min(left, options.round)
            hunt(material(venue, CAPTURES, seed), np.random.default_rng(seed), size, tally)
            seed, left = seed + 1, left - size
            if tally.wrong:
                break
        took = time.perf_counter() - began
        print(
            f"{venue:18s}{tally.frames} frames, {tally.frames / took:,.0f}/s; {tally}", flush=True
        )
        for finding, count in Counter(tally.wrong).items():
            print(f"WRONG {venue} seed {seed - 1}: {finding} ({count})", file=sys.stderr)
            status = 1
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parsers = parser.add_subparsers(required=True)
    one = parsers.add_parser("faults", help="venue models behind a faulty network")
    one.add_argument("--runs", type=int, default=500, help="seeds of each fault")
    one.add_argument("--fault", action="append", choices=FAULTS)
    one.set_defaults(work=faults)
    two = parsers.add_parser("frames", help="mutated frames into the protocols")
    two.add_argument("--n", type=int, default=100_000, help="frames a venue")
    two.add_argument("--round", type=int, default=20_000, help="frames between fresh protocols")
    two.set_defaults(work=frames)
    for each in (one, two):
        each.add_argument("--venue", action="append", choices=MODELS)
        each.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    return int(options.work(options))


if __name__ == "__main__":
    sys.exit(main())

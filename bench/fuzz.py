"""Long seeded hunts for faults in the feeds.

``faults`` plays every fault at every venue of the stub and judges each step, without sockets;
``sockets`` plays the same through the program's own socket and the stub's server on the loopback,
in virtual time; ``frames`` gives damaged bytes to every decoder and holds what it took to a plain
reading of them, and its compiled path, where there is one, to the typed one; ``engine`` lets the
engine live through crashes, losses, delays and reorders (``docs/orders.md``). Exit code 1 when
something was wrong; each finding names the seed that shows it again.

    python bench/fuzz.py faults --runs 500
    python bench/fuzz.py sockets --runs 500 --jobs 2
    python bench/fuzz.py engine --runs 2000 --steps 100 --jobs 2
    python bench/fuzz.py frames --n 1000000 --decoder binance --jobs 2
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the models live beside the tests that use them

from core.stub.faults import FAULTS  # noqa: E402 (path above)
from tests.faults.damage import Tally  # noqa: E402
from tests.faults.hunts import DECODERS, round_of  # noqa: E402
from tests.faults.judge import Outcome  # noqa: E402
from tests.faults.running import Run  # noqa: E402
from tests.faults.sockets import SocketRun  # noqa: E402
from tests.faults.venues import VENUES, cases  # noqa: E402
from tests.properties.test_engine_machine import run as run_engine  # noqa: E402

SHOWN = 5
REFRESH_S = 900
"""As the setting's default: longer than a run."""


def seconds(values: list[int]) -> str:
    """Return median and maximum of times in ns, as seconds."""
    if not values:
        return "-"
    return f"{np.median(values) / 1e9:.2f}/{max(values) / 1e9:.2f}"


def play(
    kind: str, venue: str, name: str, runs: int, first: int, refresh_after_s: int = REFRESH_S
) -> list[Outcome]:
    def one(seed: int) -> Run | SocketRun:
        if kind == "sockets":
            return SocketRun(venue, FAULTS[name], seed, refresh_after_s=refresh_after_s)
        return Run(venue, FAULTS[name], seed)

    outcomes = []
    for seed in range(first, first + runs):
        try:
            outcomes.append(one(seed).play())
        except Exception as error:  # noqa: BLE001 (a finding, with the seed that shows it)
            wrong = [f"exception: {type(error).__name__}: {error}"]
            outcomes.append(Outcome(venue, name, seed, wrong=wrong))
    return outcomes


def row(outcomes: list[Outcome]) -> str:
    """Return the counts and times of one venue and fault as a row of a table."""
    one = outcomes[0]
    detects = [each.detect_ns for each in outcomes if each.detect_ns is not None]
    recovers = [each.recover_ns for each in outcomes if each.recover_ns is not None]
    outages = [ns for each in outcomes for ns in each.outages_ns]
    cells = (
        one.venue, one.fault, len(outcomes), sum(bool(each.wrong) for each in outcomes),
        sum(bool(each.n_unseen) for each in outcomes),
        sum(each.harmed_ns is not None for each in outcomes), len(detects),
        seconds(detects), seconds(outages), seconds(recovers),
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def faults(options: argparse.Namespace) -> int:
    """Print a table: times in seconds, median and longest of all runs."""
    print(
        "| venue | fault | runs | wrong | unseen | harmed | noticed | detect | outage | recover |"
    )
    print("| --- | --- " + "| ---: " * 8 + "|")
    wanted = [
        (venue, name)
        for venue, name in cases()
        if (not options.venue or venue in options.venue)
        and (not options.fault or name in options.fault)
        and not (options.kind == "sockets" and venue == "sim")
    ]
    findings: list[str] = []
    began = time.perf_counter()
    total = steps = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [
            pool.submit(
                play, options.kind, venue, name, options.runs, options.first,
                options.refresh_after_s,
            )
            for venue, name in wanted
        ]  # fmt: skip
        for task in tasks:
            outcomes = task.result()
            print(row(outcomes), flush=True)
            findings += [
                f"{each.venue} {each.fault} seed {each.seed}: {each.wrong[0]}"
                for each in [each for each in outcomes if each.wrong][:SHOWN]
            ]
            total += len(outcomes)
            steps += sum(each.steps for each in outcomes)
    for finding in findings:
        print(f"WRONG {finding}", file=sys.stderr)
    took = time.perf_counter() - began
    print(f"{total} runs, {steps} steps, {took:.0f} s, {total / took:.1f} runs/s", file=sys.stderr)
    return 1 if findings else 0


def hunted(decoder: str, seed: int, n_damaged: int) -> Tally:
    try:
        return round_of(decoder, seed, n_damaged)
    except Exception as error:  # noqa: BLE001 (a finding, with the seed that shows it)
        return Tally(wrong=[f"exception: {type(error).__name__}: {error}"])


def frames(options: argparse.Namespace) -> int:
    """Print a table: counts of damaged frames, and how fast they went through."""
    counted = ("damaged", "frames", "refused", "taken", "taken_damaged", "compared", "twins")
    print("| decoder | seeds | " + " | ".join(counted).replace("_", " ") + " | wrong | damaged/s |")
    print("| --- | --- " + "| ---: " * (len(counted) + 2) + "|")
    findings: list[str] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for decoder in options.decoder or DECODERS:
            began = time.perf_counter()
            seeds = range(options.first, options.first + -(-options.n // options.round))
            sizes = [min(options.round, options.n - at * options.round) for at in range(len(seeds))]
            rounds = pool.map(hunted, [decoder] * len(seeds), seeds, sizes)
            total = Tally()
            for seed, tally in zip(seeds, rounds, strict=True):
                findings += [f"{decoder} seed {seed}: {each}" for each in tally.wrong[:SHOWN]]
                total.add(tally)
            took = time.perf_counter() - began
            cells = [getattr(total, name) for name in counted]
            cells += [len(total.wrong), f"{total.damaged / took:,.0f}"]
            print(f"| {decoder} | {seeds[0]}-{seeds[-1]} | " + " | ".join(map(str, cells)) + " |",
                  flush=True)  # fmt: skip
    for finding in findings:
        print(f"WRONG {finding}", file=sys.stderr)
    return 1 if findings else 0


def lived(seed: int, runs: int, steps: int) -> str:
    """Run the engine's state machine; return what broke, empty if nothing did."""
    try:
        run_engine(runs, steps, seed=seed, shrinks=False)
    except Exception as error:  # noqa: BLE001 (a finding, with the seed that shows it)
        return f"engine seed {seed}: {type(error).__name__}: {error}"
    return ""


def engine(options: argparse.Namespace) -> int:
    """Run the engine against the ill-behaved venue of ``tests/properties`` and count the runs."""
    began = time.perf_counter()
    seeds = range(options.first, options.first + -(-options.runs // options.round))
    sizes = [min(options.round, options.runs - at * options.round) for at in range(len(seeds))]
    findings, done = [], 0
    with ProcessPoolExecutor(options.jobs) as pool:
        played = pool.map(lived, seeds, sizes, [options.steps] * len(seeds))
        for seed, size, finding in zip(seeds, sizes, played, strict=True):
            findings += [finding] if finding else []
            done += size
            took = time.perf_counter() - began
            print(f"seed {seed}: {done} runs of up to {options.steps} steps, "
                  f"{len(findings)} findings, {took:.0f} s", flush=True)  # fmt: skip
    for finding in findings:
        print(f"WRONG {finding}", file=sys.stderr)
    return 1 if findings else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parsers = parser.add_subparsers(required=True)
    kinds = {"faults": "faults without sockets", "sockets": "faults over sockets, virtual time"}
    trials = [parsers.add_parser(kind, help=about) for kind, about in kinds.items()]
    for kind, each in zip(kinds, trials, strict=True):
        each.add_argument("--runs", type=int, default=500, help="seeds of each fault and venue")
        each.add_argument("--fault", action="append", choices=FAULTS)
        each.set_defaults(work=faults, kind=kind)
        each.add_argument("--venue", action="append", choices=VENUES)
        each.add_argument(
            "--refresh-after-s", type=int, default=REFRESH_S,
            help="[feed] refresh_after_s; a short one acts within a run (sockets, alpaca-crypto)",
        )  # fmt: skip
    two = parsers.add_parser("frames", help="damaged frames into every decoder")
    two.add_argument("--n", type=int, default=100_000, help="damaged frames a decoder")
    two.add_argument("--round", type=int, default=20_000, help="damaged frames a seed")
    two.add_argument("--decoder", action="append", choices=DECODERS)
    two.set_defaults(work=frames)
    three = parsers.add_parser("engine", help="engine against an ill-behaved venue, with crashes")
    three.add_argument("--runs", type=int, default=2_000)
    three.add_argument("--steps", type=int, default=100)
    three.add_argument("--round", type=int, default=50, help="runs a seed")
    three.set_defaults(work=engine)
    for each in (*trials, two, three):
        each.add_argument("--first", type=int, default=0, help="first seed")
        each.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    return int(options.work(options))


if __name__ == "__main__":
    sys.exit(main())

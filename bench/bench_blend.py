"""Board and blend over real or simulated books: skill, calibration and cost, as run live.

    python -m bench.bench_blend CAPTURE...           one capture after another
    python -m bench.bench_blend --sim 7 --hours 1    the simulated market, seed 7

Frames go through the venue's own protocol, the features and the board at the strategy's cadence.
Predictions are scored as they were made. ``t`` is over 30 blocks in time; ``last 80 %`` leaves
out the fifth in which the regression still learns. No agent is present.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from core.blend import Blend
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.features import Features
from core.feeds.capture import CaptureReader
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.replaying import give, without_last_close
from core.model.market import DEPTH_LEVELS, BookMoved, FeedOutput, FeedState, TradePrint
from core.signals.board import N_SIGNALS, SIGNAL_NAMES, SignalBoard
from core.sim.market import SimMarket, sim_instrument
from core.sim.params import SET_C
from core.sim.venue import SimVenue

HORIZONS_S = (1, 5)
N_BLOCKS = 30
SIM_START_NS = 1_700_000_000 * NS_PER_S


class Row(msgspec.Struct, frozen=True):
    """Board input at one instant."""

    now_ns: int
    mid_ticks: float
    vector: np.ndarray


def capture_events(path: Path, settings: Settings) -> tuple[FeedProtocol, Iterator[FeedOutput]]:
    reader = CaptureReader(path)
    protocol = protocol_for(reader.meta.venue, reader.meta.instruments, settings)

    def events() -> Iterator[FeedOutput]:
        for record in without_last_close(reader):
            yield from give(protocol, record)

    return protocol, events()


def sim_events(
    seed: int, hours: float, settings: Settings
) -> tuple[FeedProtocol, Iterator[FeedOutput]]:
    protocol = protocol_for("sim", [sim_market(seed).instrument], settings)

    def events() -> Iterator[FeedOutput]:
        venue = SimVenue([sim_market(seed)])
        yield from protocol.on_open(SIM_START_NS)
        venue.connect(SIM_START_NS)
        for second in range(int(hours * 3600)):
            for now_ns, frame in venue.run_until(SIM_START_NS + (second + 1) * NS_PER_S):
                yield from protocol.receive(frame, now_ns)

    return protocol, events()


def sim_market(seed: int) -> SimMarket:
    return SimMarket(sim_instrument(), seed, SET_C, SIM_START_NS)


def rows(
    protocol: FeedProtocol, events: Iterator[FeedOutput], index: int, cadence_ns: int
) -> Iterator[Row]:
    """Yield what the board reads of one instrument, every ``cadence_ns`` while the book is live."""
    feed = protocol.instruments[index]
    features = Features()
    due_ns = None
    was_live = False
    for event in events:
        if not isinstance(event, BookMoved | TradePrint) or event.instrument != index:
            if feed.state is not FeedState.LIVE and was_live:
                features.reset()
                was_live = False
            continue
        now_ns = event.ts_recv_ns
        if due_ns is None or now_ns - due_ns > 60 * NS_PER_S:
            due_ns = (now_ns // cadence_ns + 1) * cadence_ns
        while due_ns <= now_ns:
            vector = features.read(due_ns)
            if features.is_ready and was_live:
                yield Row(due_ns, features.mid_ticks, vector.copy())
            due_ns += cadence_ns
        if isinstance(event, TradePrint):
            features.on_trade(now_ns, event.price_ticks, event.qty_lots, event.aggressor)
            continue
        bid, ask = feed.book.best_bid, feed.book.best_ask
        is_live = feed.state is FeedState.LIVE and bid is not None and ask is not None
        if is_live and not feed.book.is_crossed:
            features.on_book(now_ns, bid, ask, feed.book.depth(DEPTH_LEVELS))
            was_live = True
        elif was_live:
            features.reset()
            was_live = False


def measure(name: str, found: list[Row], settings: Settings) -> None:
    board = SignalBoard()
    wide = msgspec.structs.replace(settings.blend, skill_window=100_000, min_labels=10)
    blends = [Blend(wide, horizon_s, N_SIGNALS) for horizon_s in HORIZONS_S]
    spent_ns: list[tuple[int, int]] = []
    x, last_ns = np.zeros(N_SIGNALS), 0
    for row in found:
        if row.now_ns - last_ns > 3 * NS_PER_S:
            board.reset()
        last_ns = row.now_ns
        began = time.perf_counter_ns()
        x = board.read(row.now_ns, row.vector, row.mid_ticks, None)
        middle = time.perf_counter_ns()
        for blend in blends:
            blend.sample(row.now_ns, x, row.mid_ticks)
            blend.forecast(x)
        spent_ns.append((middle - began, (time.perf_counter_ns() - middle) // len(blends)))
    hours = len(found) and (found[-1].now_ns - found[0].now_ns) / NS_PER_S / 3600
    print(f"\n{name}: {len(found)} reads over {hours:.2f} h")
    for blend in blends:
        report(blend, x)
    if found:
        for what, cost_ns in zip(
            ("board", "sample and forecast"), np.array(spent_ns).T, strict=True
        ):
            low, high = np.percentile(cost_ns, (50, 99)) / 1e3
            print(f"  {what}: median {low:.1f} us, 99 % {high:.1f} us")


def report(blend: Blend, x: np.ndarray) -> None:
    forecast, calibration = blend.forecast(x), blend.calibration()
    if forecast.skill is None or calibration is None:
        print(f"  {blend.horizon_s} s: {forecast.n_resolved} labels, too few to score")
        return
    loss, loss_base = blend.scorecard.losses()
    n = len(loss)
    blocks = [part.mean() for part in np.array_split(loss_base - loss, min(N_BLOCKS, n))]
    t = np.mean(blocks) / (np.std(blocks, ddof=1) / np.sqrt(len(blocks)))
    late = 1.0 - loss[n // 5 :].sum() / loss_base[n // 5 :].sum()
    gained = 1e3 * (calibration.log_loss_base - calibration.log_loss)
    print(
        f"  {blend.horizon_s} s: BSS {forecast.skill:+.2%} (t {t:.1f}), last 80 % {late:+.2%}, "
        f"n {n}, moved {forecast.moved_share:.0%}, mean move {forecast.mean_move_ticks:.2f} ticks\n"
        f"     log-loss {gained:+.1f} millinats, ECE {calibration.expected_error:.3f} "
        f"(floor {calibration.error_floor:.3f}), regression's weight {blend.model_weight:.2f}, "
        f"dropped {blend.n_dropped}"
    )
    weights = blend.weights[:-1].tolist()
    strongest = sorted(zip(SIGNAL_NAMES, weights, strict=True), key=lambda one: -abs(one[1]))[:6]
    print("     " + ", ".join(f"{signal} {weight:+.3f}" for signal, weight in strongest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--sim", type=int, metavar="SEED")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--prior-variance", type=float)
    args = parser.parse_args()
    settings = Settings()
    if args.prior_variance is not None:
        blend = msgspec.structs.replace(settings.blend, prior_variance=args.prior_variance)
        settings = msgspec.structs.replace(settings, blend=blend)
    print(f"prior variance {settings.blend.prior_variance}, {N_SIGNALS} signals")
    cadence_ns = settings.strategy.cadence_ms * NS_PER_MS
    for path in args.captures:
        for index, instrument in enumerate(CaptureReader(path).meta.instruments):
            protocol, events = capture_events(path, settings)
            found = list(rows(protocol, events, index, cadence_ns))
            measure(f"{path.name} {instrument.name}", found, settings)
    if args.sim is not None:
        protocol, events = sim_events(args.sim, args.hours, settings)
        measure(f"sim seed {args.sim}", list(rows(protocol, events, 0, cadence_ns)), settings)


if __name__ == "__main__":
    main()

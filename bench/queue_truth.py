"""Does the paper broker flatter? Resting orders on paper beside the same orders in the market.

    python -m bench.queue_truth [ORDERS] [LOTS]

The simulated market counts exactly who stands before an order of ours. The same small order, at
the best price, goes into two copies of one market: into the market itself, and to the paper broker,
which sees only book and trades. Compared: whether and when each was filled within a minute.
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter

from core.clock import NS_PER_S
from core.model.order import Side, TimeInForce
from tests.core.brokers.rig import MS, Rig

WARM_MS = 5_000
LIFE_MS = 60_000


def main() -> int:
    """Play the orders; print what came of them."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    lots = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    counts: Counter[str] = Counter()
    later_s: list[float] = []
    for seed in range(orders):
        side = Side.BUY if seed % 2 else Side.SELL
        filled = [_filled_ns(kind, seed, side, lots) for kind in ("sim", "paper")]
        truth, paper = filled
        if truth is None or paper is None:
            counts[_who(truth, paper)] += 1
            continue
        later_s.append((paper - truth) / NS_PER_S)
        counts["both, paper " + ("earlier" if paper < truth else "not earlier")] += 1
    for what, count in sorted(counts.items()):
        print(f"{what}: {count} of {orders}")
    if later_s:
        print(
            f"paper later by: mean {statistics.mean(later_s):+.2f} s, "
            f"median {statistics.median(later_s):+.2f} s"
        )
    return 0


def _who(truth: int | None, paper: int | None) -> str:
    if truth is None and paper is None:
        return "neither"
    return "the market only" if paper is None else "paper only"


def _filled_ns(kind: str, seed: int, side: Side, lots: int) -> int | None:
    """Return when the whole order was filled, None if it was not."""
    rig = Rig(kind, seed)
    rig.run_ms(WARM_MS)
    best, _ = rig.book.best_bid if side is Side.BUY else rig.book.best_ask
    rig.send("o", side, lots, best, TimeInForce.GTC)
    until_ns = rig.now_ns + LIFE_MS * MS
    while rig.now_ns < until_ns and sum(fill.qty_lots for fill in rig.fills) < lots:
        rig.run_ms(100)
    done = sum(fill.qty_lots for fill in rig.fills) == lots
    return rig.fills[-1].ts_ns if done else None


if __name__ == "__main__":
    sys.exit(main())

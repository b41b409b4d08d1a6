"""Random histories of fills, transfers and fees in coins: lots against a second keeper, by digit.

    python -m bench.lots_oracle [HISTORIES] [FIRST_SEED]

Prints what was compared; the first difference ends it with the seed that shows it.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.lot_histories import History


def main() -> int:
    """Play the histories; return the exit code."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    kinds: Counter[str] = Counter()
    closed = realized = 0
    for seed in range(first, first + count):
        history = History(seed)
        try:
            history.play()
        except AssertionError as error:
            print(f"seed {seed}: the lots differ from the oracle: {error}")
            return 1
        kinds.update(history.kinds)
        closed += len(history.closed)
        realized += bool(history.book.realized)
    print(f"{count:,} histories from seed {first}, {closed:,} closed lots: all equal, every digit")
    print(f"histories that realized something: {realized:,}")
    for kind, number in sorted(kinds.items()):
        print(f"histories with {kind}: {number:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

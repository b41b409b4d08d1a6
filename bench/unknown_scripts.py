"""Play scripts in which nobody says how it stands with an order, and count what must be zero.

python bench/unknown_scripts.py [N] [SEED]. Exit code 1 if an order was resolved by a guess, a fill
counted twice, exposure understated, or an end was not the venue's. ``tests/properties/unknown.py``
says what the scripts are.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.properties.unknown import FAMILIES, play


def main(count: int, seed: int) -> int:
    began = time.perf_counter()
    print("| script | played | were UNKNOWN | guessed | doubled | understated | wrong at the end "
          "| resolved after, s: median, most |")  # fmt: skip
    print("| --- " + "| ---: " * 7 + "|")
    bad = 0
    for family in FAMILIES:
        tallies = [play(family, seed + number) for number in range(count // len(FAMILIES))]
        zeros = [
            sum(each.guessed for each in tallies),
            sum(each.doubled for each in tallies),
            sum(each.understated for each in tallies),
            sum(not each.is_right for each in tallies),
        ]
        bad += sum(zeros)
        took = [each.resolved_ms / 1000 for each in tallies if each.resolved_ms is not None]
        unknown = sum(each.was_unknown for each in tallies)
        cells = [family, len(tallies), unknown, *zeros, f"{np.median(took):.1f}, {max(took):.1f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(f"{count} scripts in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [1_000, 1][len(numbers) :])))

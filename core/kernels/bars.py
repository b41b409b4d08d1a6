"""Bars kernel: one-second bars of the mid in the block, the newest ``MAX_BARS`` in a ring.

They are whole numbers: prices are bid plus ask in ticks (twice the mid), volumes are lots.
"""

from __future__ import annotations

from core.kernels import block as at
from core.kernels import jit_inline
from core.kernels.features import SECOND_NS

END_S, OPEN, HIGH, LOW, CLOSE, VOLUME = range(at.BAR_SIZE)
"""Words of a bar; END_S is the whole second (epoch) at which it closes."""


@jit_inline
def add(block, now_ns, mid2, lots):
    """Take twice the mid and the lots traded with it; a new second begins a new bar."""
    end_s = now_ns // SECOND_NS + 1
    count = block[at.N_BARS]
    bar = at.BARS + (count - 1) % at.MAX_BARS * at.BAR_SIZE
    if count > 0 and block[bar + END_S] == end_s:
        block[bar + HIGH] = max(block[bar + HIGH], mid2)
        block[bar + LOW] = min(block[bar + LOW], mid2)
        block[bar + CLOSE] = mid2
        block[bar + VOLUME] += lots
    else:
        bar = at.BARS + count % at.MAX_BARS * at.BAR_SIZE
        block[at.N_BARS] = count + 1
        block[bar + END_S] = end_s
        block[bar + OPEN] = mid2
        block[bar + HIGH] = mid2
        block[bar + LOW] = mid2
        block[bar + CLOSE] = mid2
        block[bar + VOLUME] = lots

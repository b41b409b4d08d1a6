"""The engine's own command line with a stopwatch at its door; for bench_screen_latency.

    python bench/measured_engine.py OUT.npz run --headless ...

Everything is the product's, but that ``Session.receive`` is followed by one look at the clock. At
the end OUT.npz holds int64 arrays, one entry a frame: ``received`` (the engine's receive time),
``done`` (features, row, tape and engine had it) and ``sent`` (the venue's event time, where the
frame was a stamped depth event, else 0), all Unix ns.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli.main import main as tapewright
from core.model.market import FeedRequest
from core.session import Session

_STAMP = re.compile(rb'"e":"depthUpdate","E":(\d{16}),')
_HEAD = 120


def measured(out: Path) -> int:
    """Run the command line in ``sys.argv``; write what was measured, however it ends."""
    received: list[int] = []
    done: list[int] = []
    heads: list[bytes] = []
    plain = Session.receive

    def receive(self: Session, data: bytes, recv_ns: int) -> list[FeedRequest]:
        requests = plain(self, data, recv_ns)
        done.append(time.time_ns())
        received.append(recv_ns)
        heads.append(data[:_HEAD])
        return requests

    Session.receive = receive
    try:
        return tapewright()
    finally:
        stamps = [_STAMP.search(head) for head in heads]
        sent = [int(found[1]) * 1000 if found else 0 for found in stamps]
        np.savez(out, received=received, done=done, sent=sent)


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    sys.exit(measured(target))

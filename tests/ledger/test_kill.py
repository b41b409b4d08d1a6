"""SIGKILL at any instant: what was acknowledged is there, and the ledger opens and verifies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ledger.reading import read_head
from ledger.verify import verify
from ledger.writer import LedgerWriter

KILLS = 20
ACKS_MAX = 60
WAIT_S = 30

CHILD = """
import os, sys
from pathlib import Path
from core.model.event import KillTripped
from ledger.writer import LedgerWriter

writer = LedgerWriter(Path(sys.argv[1]))
while True:
    for _ in range(int(sys.argv[2])):
        seq = writer.append(KillTripped("all", "human:trader", "x" * 300), 0)
    writer.flush().result()
    os.write(1, b"%d\\n" % seq)
"""


def _run_until_killed(state: Path, per_flush: int, n_acks: int) -> int:
    """Start a child, read ``n_acks`` acknowledged seqs, SIGKILL it, return the last one it told."""
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state), str(per_flush)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert child.stdout is not None
    with child.stdout as pipe:
        last = 0
        for _ in range(n_acks):
            last = int(pipe.readline())
        child.kill()  # while it is in the middle of the next group
        child.wait(WAIT_S)
        rest = pipe.read().split(b"\n")[:-1]
    return int(rest[-1]) if rest else last


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_by_twenty_kills(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for _ in range(KILLS):
        acknowledged = _run_until_killed(
            tmp_path, int(rng.integers(1, 90)), int(rng.integers(1, ACKS_MAX))
        )
        report = verify(tmp_path)
        assert report.findings == ()
        assert report.head.seq >= acknowledged
    LedgerWriter(tmp_path).close()
    assert read_head(tmp_path) == report.head

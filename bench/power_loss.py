"""Cut the power at random instants of the writer's life; count acknowledged events that are lost.

python bench/power_loss.py [IMAGES] [SEED]. Needs strace (Linux), no right beyond the user's own.
Each scenario is recorded once from the real program (SQLite, witness, checkpoints, keys, payloads,
latch) and cut at many instants; every image is opened as a start would and verified.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.disk_model import Disk, Op, is_recordable, record
from core.errors import TapewrightError
from core.latch import KillLatch
from ledger.verify import verify
from ledger.writer import LedgerWriter

ROOT = Path(__file__).resolve().parents[1]

STREAM = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from ledger import commit
from ledger.writer import LedgerWriter
from tests.ledger import factory
commit.CHECKPOINT_COMMITS = commit.CHECKPOINT_COMMITS_MAX = 7  # so that the WAL begins anew often
writer = LedgerWriter(Path(sys.argv[1]), group_events={group})
for number in range({runs}):
    for event, ts_ns, _ in factory.day(sys.argv[2] + "-" + str(number)):
        if {keeps}:
            points = b"a decision point %d\\n" % writer.head()[0]
            writer.keep(points)
            writer.append(factory.points_taken(points), ts_ns)
        seq = writer.append(event, ts_ns)
        if seq % {every} == 0:
            writer.flush().result()
            os.write(1, b"%d\\n" % seq)
writer.close()
os.write(1, b"%d\\n" % writer.head()[0])
"""
LATCH = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from core.latch import KillLatch
latch = KillLatch(Path(sys.argv[1]))
for number in range(20):
    if latch.trip("reason %d" % number, "human:trader", number):
        os.write(1, b"1\\n")
    os.write(1, b"0\\n")  # from here on it may be gone
    latch.path.unlink()
"""


class Scenario(NamedTuple):
    """One recorded life of a program."""

    name: str
    script: str
    earlier: int = 0
    """Lives before it, all of which ended in order."""


SCENARIOS = (
    Scenario("first start, one event a commit", STREAM.format(
        root=str(ROOT), group=64, runs=2, every=1, keeps=False)),
    Scenario("first start, groups", STREAM.format(
        root=str(ROOT), group=64, runs=8, every=11, keeps=False)),
    Scenario("later start, payloads", STREAM.format(
        root=str(ROOT), group=64, runs=3, every=3, keeps=True), 1),
    Scenario("later start, large groups", STREAM.format(
        root=str(ROOT), group=1024, runs=60, every=400, keeps=False), 1),
)  # fmt: skip
LATCH_SCENARIO = Scenario("kill latch", LATCH.format(root=str(ROOT)))


class Loss(NamedTuple):
    """What was wrong with one image."""

    scenario: str
    instant: int
    what: str


def acknowledged(ops: list[Op]) -> int:
    """Return the newest number the program said."""
    said = b"".join(op.data for op in ops if op.call == "said").split()
    return int(said[-1]) if said else 0


def ledger_fault(state: Path, said: int) -> str:
    """Open the image as a start would; return what is wrong, or nothing."""
    try:
        writer = LedgerWriter(state)
        seq = writer.head()[0]
        writer.close()
        if writer.failure is not None:
            return f"the writer failed: {writer.failure}"
        if seq < said:
            return f"seq {said} was acknowledged, the ledger ends at {seq}"
        report = verify(state)
    except TapewrightError as error:
        return f"{error} ({said} was acknowledged)"
    return report.findings[0].text if report.findings else ""


def latch_fault(state: Path, said: int) -> str:
    if said and not KillLatch(state).read().is_halted:
        return "the kill was acknowledged and is gone"
    return ""


def lives(scenario: Scenario, root: Path) -> tuple[Path, list[Op], Disk]:
    """Record a scenario; return its folder, what it did, and the disk as it was before."""
    state = root / "state"
    state.mkdir(mode=0o700)
    script = root / "life.py"
    script.write_text(scenario.script, encoding="utf-8")
    for number in range(scenario.earlier):
        record([script, state, f"earlier-{number}"], state, root / "trace")
    disk = Disk(state)
    return state, record([script, state, "life"], state, root / "trace"), disk


def cut(
    scenario: Scenario,
    images: int,
    chance: np.random.Generator,
    fault: Callable[[Path, int], str] = ledger_fault,
) -> tuple[int, list[Loss]]:
    """Cut the power at ``images`` random instants; return operations recorded, and the losses."""
    losses = []
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        root = Path(folder)
        _, ops, disk = lives(scenario, root)
        instants = np.sort(chance.integers(0, len(ops) + 1, images))
        done = 0
        for number, instant in enumerate(instants):
            for op in ops[done:instant]:
                disk.take(op)
            done = int(instant)
            with tempfile.TemporaryDirectory(dir=root, prefix=f"image-{number}-") as place:
                disk.write_image(Path(place), chance)
                what = fault(Path(place), acknowledged(ops[:done]))
            if what:
                losses.append(Loss(scenario.name, done, what))
    return len(ops), losses


def _fast_folder() -> str | None:
    """Memory where there is some; the model, not the disk, decides what is synced."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main(images: int, seed: int) -> int:
    if not is_recordable():
        print("strace is not here: nothing was recorded")
        return 3
    chance = np.random.default_rng(seed)
    lost = 0
    for scenario, fault, share in (
        *((scenario, ledger_fault, images // len(SCENARIOS)) for scenario in SCENARIOS),
        (LATCH_SCENARIO, latch_fault, images // len(SCENARIOS)),
    ):
        count, losses = cut(scenario, share, chance, fault)
        lost += len(losses)
        print(f"{scenario.name}: {count} operations, {share} images, {len(losses)} with a loss")
        for loss in losses[:5]:
            print(f"  after operation {loss.instant}: {loss.what}")
    return 1 if lost else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [2000, 1][len(numbers) :])))

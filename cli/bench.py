"""``tapewright bench``: how quick this machine is at what a trader waits for.

Three figures, each by the product's own path: a frame to features, the whole engine with its
decisions, and an order's intent on this disk. Nothing is asked of the network and nothing is left
in the state directory.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.measuring import MADE_SECONDS, Figures, make_capture, measure
from cli.printing import hand_out
from core.state import resolve_state_dir


def bench_command(capture: Path | None, target: str | None, state: Path | None) -> int:
    """Measure and print; return the exit code.

    Errors: ``CaptureError`` for a capture that cannot be read or a result that cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="tapewright-bench-") as folder:
        path = capture or make_capture(Path(folder) / "made.jsonl.gz")
        source = capture.name if capture else f"{MADE_SECONDS} s of a simulated market, as Binance"
        print(f"bench: {source}", file=sys.stderr)
        with _on_disk_of(state) as beside:
            figures = measure(path, source, Path(folder), beside)
    if target is not None:
        hand_out(figures, target)
    if target != "-":
        print("\n".join(lines(figures)))
    return 0


def lines(figures: Figures) -> list[str]:
    """Return the figures as text for people."""
    decisions = "decisions none"
    if figures.decision_us_p50 is not None and figures.decision_us_p99 is not None:
        decisions = (
            f"{figures.decisions:,} decisions, p50 {figures.decision_us_p50 / 1000:.2f} ms, "
            f"p99 {figures.decision_us_p99 / 1000:.2f} ms"
        )
    times = figures.frame_us_p50 / figures.json_us_p50
    return [
        f"machine  {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}; read the ratio before the microseconds",
        f"feed     {figures.frames:,} frames to book and features: "
        f"p50 {figures.frame_us_p50:.1f} us, p99 {figures.frame_us_p99:.1f} us; "
        f"{times:.2f} x json.loads",
        f"engine   {figures.engine_frames_per_s:,.0f} frames a second; {decisions}",
        f"ledger   an intent on disk: p50 {figures.commit_us_p50 / 1000:.2f} ms, "
        f"p99 {figures.commit_us_p99 / 1000:.2f} ms; {figures.events_per_s:,.0f} events a second",
        f"memory   {figures.rss_mib:.0f} MiB at most",
    ]


@contextmanager
def _on_disk_of(state: Path | None) -> Iterator[Path]:
    """Yield an empty folder on the disk of the state directory, gone afterwards."""
    parent = resolve_state_dir(state)
    while not parent.is_dir():
        parent = parent.parent
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=parent) as folder:
        yield Path(folder)

"""``tapewright warm``: compile every kernel once, with progress."""

from __future__ import annotations

import sys
import time

from core.clock import SystemClock

STEP = "  [{place}/{count}] {what} {seconds:.1f} s"


def warm_command() -> int:
    """Compile the kernels into the cache; a second run takes a moment."""
    from cli.warming import STEPS

    start = time.monotonic()
    for place, (what, step) in enumerate(STEPS, 1):
        begun = time.monotonic()
        step(SystemClock())
        line = STEP.format(
            place=place, count=len(STEPS), what=what, seconds=time.monotonic() - begun
        )
        print(line, file=sys.stderr, flush=True)
    print(f"kernels are ready ({time.monotonic() - start:.1f} s)", file=sys.stderr)
    return 0

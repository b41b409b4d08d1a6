"""``tapewright warm``: compile every kernel once, with progress."""

from __future__ import annotations

import sys
import time


def warm_command() -> int:
    """Compile the kernels into the cache; a second run takes a moment."""
    from cli.warming import STEPS

    start = time.monotonic()
    for place, (what, step) in enumerate(STEPS, 1):
        print(f"  [{place}/{len(STEPS)}] {what} ...", end="", file=sys.stderr, flush=True)
        begun = time.monotonic()
        step()
        print(f" {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    print(f"kernels are ready ({time.monotonic() - start:.1f} s)", file=sys.stderr)
    return 0

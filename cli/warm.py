"""``tapewright warm``: compile every kernel once, with progress."""

from __future__ import annotations

import contextlib
import sys
import time

DONE_NAME = "complete"
"""In the cache folder of one version's kernels: all of them are there."""


def warm_command() -> int:
    """Compile the kernels into the cache; does nothing where that is done."""
    from core.kernels import CACHE_DIR

    done = CACHE_DIR / DONE_NAME
    if done.exists():
        return 0
    from cli.warming import STEPS

    print("compiling kernels, once (under a minute):", file=sys.stderr)
    start = time.monotonic()
    for place, (what, step) in enumerate(STEPS, 1):
        print(f"  [{place}/{len(STEPS)}] {what} ...", end="", file=sys.stderr, flush=True)
        begun = time.monotonic()
        step()
        print(f" {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # a cache that cannot be written is slow, not wrong
        done.touch()
    print(f"kernels are ready ({time.monotonic() - start:.1f} s)", file=sys.stderr)
    return 0

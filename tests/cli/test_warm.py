"""What ``tapewright warm`` compiles is what a live run calls."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRESH = """
from core.kernels import frames
from cli.warming import STEPS
kernels = [one for name, one in vars(frames).items() if name.startswith("take_")]
assert kernels and not any(one.signatures for one in kernels)
dict(STEPS)["frames of venues"]()
print(" ".join(one.py_func.__name__ for one in kernels if not one.signatures))
"""


@pytest.mark.slow
def test_every_kernel_that_takes_a_venues_frame_is_compiled_before_a_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == []

"""The kernels of a venue are there before its first frame."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from core.feeds.ready import load_kernels
from core.kernels import frames, update

load_kernels({venue!r})
for kernel in ({kernels}):
    assert kernel.signatures, kernel
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("venue", "kernels"),
    [
        ("binance", "frames.take_depth, frames.take_ticker, frames.take_trade, update.moved"),
        ("coinbase", "frames.take_update, update.traded, update.moved"),
        ("alpaca", "update.apply, update.moved"),
    ],
)
def test_kernels_are_loaded_without_a_frame_of_a_run(venue: str, kernels: str) -> None:
    program = PROGRAM.format(venue=venue, kernels=kernels)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

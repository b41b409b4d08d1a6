"""Damaged frames: nothing raises, nothing is half applied, no value is none.

3,000 frames a venue, of a recording where there is one. Long runs: ``python bench/fuzz.py frames``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.book import Book
from tests.faults.damage import Tally, damage, hunt, material, modelled
from tests.faults.venue_model import MODELS

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"
FRAMES = 3_000


@pytest.mark.slow
@pytest.mark.parametrize("venue", MODELS)
def test_damaged_frames_leave_books_that_equal_the_plain_replay(venue: str) -> None:
    tally = Tally()
    hunt(modelled(venue, 1), np.random.default_rng(1), FRAMES, tally)
    assert tally.wrong == []
    assert tally.frames >= FRAMES
    assert tally.damaged > 100
    assert tally.refused > 100
    assert tally.taken > 100
    assert tally.compared > 60


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.parametrize("venue", ["binance", "coinbase-exchange", "alpaca"])
def test_damaged_frames_of_a_recording_leave_books_that_equal_the_plain_replay(venue: str) -> None:
    if not CAPTURES.exists():
        pytest.skip(f"no captures in {CAPTURES}")
    tally = Tally()
    hunt(material(venue, CAPTURES, 2), np.random.default_rng(2), FRAMES, tally)
    assert tally.wrong == []
    assert tally.taken > 50
    assert tally.compared > 20


@pytest.mark.parametrize("venue", ["binance", "coinbase", "sim"])
def test_the_hunt_sees_a_message_that_is_applied_by_half(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Book.apply
    monkeypatch.setattr(Book, "apply", lambda self, levels: whole(self, levels[: len(levels) // 2]))
    tally = Tally()
    hunt(modelled(venue, 1), np.random.default_rng(1), FRAMES, tally)
    assert any("differ from the plain replay" in each for each in tally.wrong)


def test_wounds_are_the_same_for_the_same_seed_and_leave_few_frames_whole() -> None:
    frame = modelled("binance", 1).frames[0]
    made = [
        [damage(frame, frame, generator) for _ in range(200)]
        for generator in (np.random.default_rng(3), np.random.default_rng(3))
    ]
    assert made[0] == made[1]
    assert sum(each == frame for each in made[0]) < 20

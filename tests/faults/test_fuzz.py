"""Damaged bytes: nothing raises, nothing is half applied, no value is none, both paths agree.

A few thousand frames a decoder. Long runs: ``python bench/fuzz.py frames``.
"""

from __future__ import annotations

import pytest

from core.book import Book
from core.feeds.binance import BinanceProtocol
from core.feeds.coinbase import CoinbaseProtocol
from core.model.market import BookMoved
from tests.faults.damage import Tally, hunt
from tests.faults.hunts import DECODERS, round_of
from tests.faults.lines import hunt_commands
from tests.faults.material import CAPTURES, material, modelled
from tests.faults.venues import VENUES
from tests.faults.wounds import Draws, damage, damage_packed

DAMAGED = 1_000
RECORDED = ("binance", "coinbase", "coinbase-exchange", "alpaca", "alpaca-msgpack")


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_damaged_bytes_are_refused_or_read_as_the_plain_reading_does(decoder: str) -> None:
    tally = round_of(decoder, 1, DAMAGED)
    assert tally.wrong == []
    assert tally.damaged >= DAMAGED
    assert tally.refused > DAMAGED // 4
    assert tally.taken > DAMAGED // 4
    assert tally.compared > DAMAGED // 20


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.parametrize("decoder", RECORDED)
def test_damaged_frames_of_a_recording_are_refused_or_read_plainly(decoder: str) -> None:
    if not CAPTURES.exists():
        pytest.skip(f"no captures in {CAPTURES}")
    tally = Tally()
    hunt(material(decoder, 2), 2, DAMAGED, tally)
    assert tally.wrong == []
    assert tally.taken > DAMAGED // 20


def test_every_venue_of_the_trials_is_hunted() -> None:
    assert set(VENUES) < set(DECODERS)


@pytest.mark.parametrize("venue", ["coinbase-exchange", "sim", "alpaca-crypto"])
def test_the_hunt_sees_a_message_that_is_applied_by_half(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Book.apply
    monkeypatch.setattr(Book, "apply", lambda self, levels: whole(self, levels[: len(levels) // 2]))
    tally = Tally()
    hunt(modelled(venue, 1), 1, DAMAGED, tally)
    assert any("differ from the plain replay" in each for each in tally.wrong)


@pytest.mark.parametrize(
    ("protocol", "venue"), [(BinanceProtocol, "binance"), (CoinbaseProtocol, "coinbase")]
)
def test_the_hunt_sees_a_compiled_path_that_says_otherwise(
    protocol: type, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = protocol._read

    def later(self: object, data: bytes, recv_ns: int) -> list:
        outputs = typed(self, data, recv_ns)
        is_twin = not self.uses_kernel  # type: ignore[attr-defined]
        moved = [each for each in outputs if isinstance(each, BookMoved)]
        return outputs[:-1] if is_twin and moved else outputs

    monkeypatch.setattr(protocol, "_read", later)
    tally = Tally()
    hunt(modelled(venue, 1), 1, DAMAGED, tally)
    assert tally.twins
    assert any("the twin said otherwise" in each for each in tally.wrong)


def test_the_hunt_sees_a_command_that_nobody_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.lines._says", lambda data, command: False)
    tally = Tally()
    hunt_commands(1, DAMAGED, tally)
    assert any("was carried out" in each for each in tally.wrong)


def test_wounds_are_the_same_for_the_same_seed_and_leave_few_frames_whole() -> None:
    frame = modelled("binance", 1).frames[0].data
    for wound in (damage, damage_packed):
        made = [[wound(frame, frame, draws) for _ in range(200)] for draws in (Draws(3), Draws(3))]
        assert made[0] == made[1]
    made_text = [damage(frame, frame, Draws(seed)) for seed in range(200)]
    assert sum(each == frame for each in made_text) < 20

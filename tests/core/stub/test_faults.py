"""Faults as they are asked for, and what they do to a frame."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import ValueRefused
from core.stub.faults import FAULTS, SOCKET_VENUES, read_fault
from core.stub.registry import sim_venue
from core.stub.site import Site
from core.stub.venue import BOOK, Sent, dumps
from tests.core.feeds.wire import T0, S


def site(venue: str = "binance", **own: float) -> Site:
    return Site(sim_venue(venue, ["BTC-USD" if "-" in venue else "BTCUSDT"], 1, T0),
                np.random.default_rng(1), **own)  # type: ignore[arg-type]  # fmt: skip


def test_a_fault_is_asked_for_by_name_with_a_share_or_a_length() -> None:
    assert read_fault("drop", "binance").share is None
    assert read_fault("drop:0.01", "binance").share == 0.01
    assert read_fault("freeze:30s", "coinbase").lasts_ns == 30 * S
    assert read_fault("delay:500ms", "alpaca").lasts_ns == S // 2
    assert read_fault("late-snapshot:2m", "binance").fault.name == "late_snapshot"


@pytest.mark.parametrize(
    ("text", "said"),
    [("nope", "allowed for binance are drop"), ("drop:2", "share"), ("drop:x", "share"),
     ("drop:-1", "share"), ("walk", "allowed for binance"), ("lost_snapshot", "allowed for")],
)  # fmt: skip
def test_a_fault_that_is_none_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ValueRefused, match=said):
        read_fault(text, "binance")


@pytest.mark.parametrize(
    "asked", ["drop", "duplicate", "reorder", "delay", "cut_mid_frame", "freeze", "garbage",
              "giant", "late_snapshot", "429", "close", "clock_offset"],
)  # fmt: skip
@pytest.mark.parametrize("venue", SOCKET_VENUES)
def test_every_venue_can_have_every_fault_of_the_list(asked: str, venue: str) -> None:
    assert read_fault(asked, venue).fault is FAULTS[asked]


def test_a_giant_frame_is_longer_than_sixteen_mebibytes_and_says_the_same() -> None:
    one = site(share=1.0)
    frame = Sent(dumps({"u": 1}), BOOK, 0)
    made = [FAULTS["giant"].on_frame(one, frame)[0] for _ in range(8)]  # type: ignore[misc]
    whole = [each for each in made if each.is_intact]
    assert max(len(each.data) for each in made) > 16 * 1024 * 1024
    assert whole
    assert json.loads(whole[0].data)["u"] == 1


def test_frames_change_places_and_none_is_lost_by_reordering() -> None:
    one = site(share=0.5)
    frames = [Sent(dumps({"u": n}), BOOK, 0) for n in range(200)]
    made = [d for each in frames for d in FAULTS["reorder"].on_frame(one, each)]  # type: ignore[misc]
    order = [json.loads(each.data)["u"] for each in made]
    assert order != sorted(order)
    assert sorted(order)[:199] == list(range(199))


def test_the_same_seed_damages_the_same_frames() -> None:
    frames = [Sent(dumps({"u": n}), BOOK, 0) for n in range(200)]
    runs = []
    for _ in range(2):
        one = site()
        runs.append([d.data for f in frames for d in FAULTS["mixed"].on_frame(one, f)])  # type: ignore[misc]
    assert runs[0] == runs[1]

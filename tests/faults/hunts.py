"""Every decoder that reads bytes of the world, and one seeded round of damaged bytes for each."""

from __future__ import annotations

from tests.faults.damage import Tally, hunt
from tests.faults.lines import hunt_captures, hunt_commands
from tests.faults.material import PACKED, material
from tests.faults.venues import VENUES

DECODERS = (*VENUES, f"alpaca{PACKED}", f"alpaca-crypto{PACKED}", "capture", "control")
"""Venues' frames, capture lines, and the commands of screen and command line."""


def round_of(decoder: str, seed: int, n_damaged: int) -> Tally:
    """Give a fresh decoder so many damaged frames; stops at the first thing found wrong."""
    tally = Tally()
    match decoder:
        case "capture":
            hunt_captures(seed, n_damaged, tally)
        case "control":
            hunt_commands(seed, n_damaged, tally)
        case _:
            hunt(material(decoder, seed), seed, n_damaged, tally)
    return tally

"""Binders for tests: made once of the factory's day, copied wherever one is spoilt."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agents.registry import CARD_NAME, SHIPPED, WEIGHTS_NAME
from core.clock import NS_PER_S
from core.lots import FifoBook
from core.model.event import (
    KillTripped,
    LedgerEvent,
    OrderChanged,
    OrderIntended,
    RiskChecked,
    RunEnded,
)
from core.model.order import Side
from ledger.binder import Made, make_binder
from ledger.binder import verify as verifier
from ledger.binder.models import ModelFiles
from ledger.export.kinds import Period
from tests.ledger import factory

WEIGHTS = "b08c4bc37b822fecaf2544d0869789c22e605acf019daea186222919d5009064"
MARKET = "b46b3730875de6d80f485b0f8ad3b1b000f7620d791c0fdad81ea2d5882c4e8e"


def shipped(agent_id: str) -> ModelFiles | None:
    """Return the shipped agent's files, as the command does, without making the market anew."""
    folder = SHIPPED / agent_id
    if not folder.is_dir():
        return None
    card, weights = (folder / CARD_NAME).read_bytes(), (folder / WEIGHTS_NAME).read_bytes()
    return ModelFiles(agent_id, card, weights, {"kind": "simulated market", "sha256": MARKET})


def made(
    state: Path,
    out: Path,
    period: Period | None = None,
    find_model: Callable[[str], ModelFiles | None] = shipped,
    receipts: Sequence[Path] = (),
) -> Made:
    return make_binder(
        state,
        period or Period(),
        out,
        find_model=find_model,
        program="0.1.0",
        say=lambda text: None,
        receipts=receipts,
    )


def eventful() -> list[factory.Dated]:
    """Return two runs with trades, a denial, a kill and a reason that looks like a formula."""
    day = factory.day("run-1")
    started = msgspec.structs.replace(
        factory.run_started("run-1"),
        agent={"agent:ppo-sim:weights": WEIGHTS, "agent:ppo-sim:schema": "0" * 64},
    )
    end = day[-1].ts_ns
    book = FifoBook(factory.INSTRUMENT)
    evil = factory.filled(book, "f-x", "o-x", "close", Side.BUY, 10_000, 1_000)
    evil = msgspec.structs.replace(evil, rationale='=HYPERLINK("http://x","y")')
    later: list[LedgerEvent] = [
        factory.run_started("run-2"),
        OrderIntended(factory.order("o-no", "d-no", Side.SELL, 9_990)),
        RiskChecked("o-no", "d-no", allowed=False, code="max_daily_loss", checks=factory.CHECKS),
        KillTripped("all", "human:trader", "F12"),
        OrderIntended(factory.order("o-x", "close", Side.BUY, 10_001, 1_000)),
        evil,
        OrderChanged("o-x", "FILLED", "", 1_000),
        RunEnded("run-2", "asked to stop", {"frames": 5}),
    ]
    return [
        day[0]._replace(event=started),
        *day[1:],
        *(factory.Dated(event, end + 3600 * NS_PER_S * n) for n, event in enumerate(later, 1)),
    ]


class Copies(NamedTuple):
    """A binder, and copies of it to spoil."""

    state: Path
    one: Made

    def into(self, folder: Path) -> Path:
        """Return a copy of the binder's folder inside ``folder``."""
        return shutil.copytree(self.one.folder, folder / self.one.folder.name)


def copies(root: Path) -> Copies:
    factory.write(root / "state", eventful())
    return Copies(root / "state", made(root / "state", root / "out"))


def faults(path: Path, fingerprint: str = "", against: Path | None = None) -> tuple[int, list[str]]:
    """Verify with the verifier of the program; return the faults and everything it said."""
    lines: list[str] = []
    count = verifier.verify(path, lines.append, fingerprint, against)
    return count, lines

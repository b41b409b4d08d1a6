"""Positions from the command line: exits that act, survive a crash, and move by a word."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from core.control import Ack, SetExit, SetMode
from core.model.decision import Mode
from core.model.exits import ExitKind
from core.snapshot import Snapshot
from tests.journeys.program import ask, practice, sim_capture, start, tapewright, wait_for

pytestmark = pytest.mark.slow

TIGHT = "\n[exits]\nstop_bps = 1\ntake_profit_bps = 1\ntime_stop_s = 3\n"
WIDE = "\n[exits]\nstop_bps = 400\ntake_profit_bps = 500\ntime_stop_s = 3600\n"
SIM = "\n[sim]\nhistory_s = 120\nspeed = 20\n"


def config(folder: Path, more: str, hold_s: int = 3_600) -> Path:
    path = practice(folder)
    text = path.read_text(encoding="utf-8").replace("hold_s = 5", f"hold_s = {hold_s}")
    path.write_text(text + more, encoding="utf-8")
    return path


def events(state: Path, kind: str) -> list[dict[str, Any]]:
    told = tapewright(
        "ledger", "export", "--table", "events", "--format", "jsonl", "--state", state
    )
    assert told.returncode == 0, told.stderr
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    return [row for row in rows if row["type"] == kind]


def test_a_replay_closes_by_its_exits_and_gives_the_same_ledger_twice(tmp_path: Path) -> None:
    capture = sim_capture(tmp_path / "sim.jsonl.gz", seconds=90)
    file, heads = config(tmp_path, TIGHT), []
    for name in ("a", "b"):
        done = tapewright(
            "replay", capture, "--headless", "--mode", "auto", "--seed", "7",
            "--state", tmp_path / name, "--config", file,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        heads.append(tapewright("ledger", "head", "--state", tmp_path / name).stdout)
    assert heads[0] == heads[1]
    fired = events(tmp_path / "a", "EXIT_TRIGGERED")
    assert {"stop", "time"} & {row["payload"]["kind"] for row in fired}
    why = {row["payload"]["rationale"] for row in events(tmp_path / "a", "FILL")}
    for row in fired:
        assert f"Closed by algo:exits: {row['payload']['rationale']}." in why
    assert tapewright("ledger", "verify", "--state", tmp_path / "a").returncode == 0


class Market:
    """A simulated market run that the test may kill and start again."""

    def __init__(self, state: Path, file: Path) -> None:
        self.state, self.file = state, file
        self.process: Popen[str] | None = None

    def start(self, mode: str) -> Market:
        self.process = start(
            "run", "--headless", "--venue", "sim", "--mode", mode, "--seed", "3",
            "--state", self.state, "--config", self.file,
        )  # fmt: skip
        return self

    def wait(self, seen: Any) -> Snapshot:
        assert self.process is not None
        return wait_for(self.state, self.process, seen)

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        if self.process is not None:
            self.process.communicate(timeout=30)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    made = Market(tmp_path / "s", config(tmp_path, WIDE + SIM))
    yield made
    made.stop()


def held(picture: Snapshot) -> bool:
    return any(position.lots and not position.doing for position in picture.positions)


def position(market: Market, *words: str) -> str:
    told = tapewright("position", *words, "--state", market.state)
    assert told.returncode == 0, told.stderr
    return told.stdout + told.stderr


def test_commands_act_and_a_moved_stop_survives_kill_nine(market: Market) -> None:
    market.start("auto").wait(held)
    ask(market.state, SetMode(Mode.CONFIRM))
    lots = market.wait(held).positions[0].lots
    assert "on its way" in position(market, "half", "SIM-USD")
    market.wait(lambda seen: abs(seen.positions[0].lots) < abs(lots))
    assert "closing, then" in position(market, "reverse", "SIM-USD", "--yes")
    turned = market.wait(lambda seen: seen.positions[0].lots * lots < 0)
    refused = tapewright("position", "stop", "SIM-USD", "1.001", "--state", market.state)
    assert (refused.returncode, "off the 0.01 tick" in refused.stderr) == (1, True)
    asked = tapewright("position", "flatten", "--state", market.state)
    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    assert "target off" in position(market, "target", "SIM-USD", "off")
    moved = "1" if turned.positions[0].lots > 0 else "9999"
    reply = ask(market.state, SetExit("SIM-USD", ExitKind.STOP, moved))
    # Acknowledged is on the disk.
    market.kill()
    assert isinstance(reply, Ack)
    assert f"stop {moved}, target off" in reply.text

    (now,) = [each for each in market.start("observe").wait(held).positions if each.lots]
    assert now.exits is not None
    assert now.exits.stop is not None
    assert (Decimal(now.exits.stop), now.exits.target) == (Decimal(moved), None)
    assert set(now.exits.by_hand) == {"stop", "target"}
    assert f"stop {moved}" in position(market, "list")
    position(market, "flatten", "--yes")
    market.wait(lambda seen: not any(each.lots for each in seen.positions))
    restored = [row["payload"]["why"] for row in events(market.state, "EXITS")][-1]
    assert restored.startswith("restored at start")

"""Coins moved in and out of a running account: a crash forgets none, and nobody is alarmed."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path

import pytest

from core.control import Stop
from tests.journeys.program import ask, practice, start, tapewright, wait_for

pytestmark = pytest.mark.slow

SIM = "\n[sim]\nhistory_s = 60\nspeed = 20\n"


def test_transfers_survive_a_kill_and_are_in_the_ledger_the_replay_and_the_taxes(
    tmp_path: Path,
) -> None:
    state, config = tmp_path / "s", practice(tmp_path)
    config.write_text(config.read_text(encoding="utf-8") + SIM, encoding="utf-8")
    words = ("run", "--headless", "--venue", "sim", "--mode", "observe", "--seed", "3",
             "--state", state, "--config", config)  # fmt: skip

    def move(*what: str) -> str:
        done = tapewright("transfer", *what, "--state", state)
        assert done.returncode == 0, done.stderr
        return done.stderr

    process = start(*words)
    wait_for(state, process, lambda seen: seen.risk.blocked != "living through the market's past"
             and seen.instruments[0].mid is not None)  # fmt: skip
    coming = ("in", "SIM-USD", "2", "--wallet", "cold", "--basis", "150.5", "--acquired",
              "2024-05-01", "--yes")  # fmt: skip
    for _ in range(100):
        done = tapewright("transfer", *coming, "--state", state)
        if "living through the market's past" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "position 0.49" in move("out", "SIM-USD", "1.5", "--wallet", "cold", "--fee", "0.01")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)

    process = start(*words)
    seen = wait_for(state, process, lambda picture: any(p.lots for p in picture.positions))
    assert [position.qty for position in seen.positions if position.lots] == ["0.49"]
    assert tapewright("reconcile", "--state", state).stdout == "the broker agrees with us\n"
    ask(state, Stop())
    process.communicate(timeout=60)
    for check in (("ledger", "verify"), ("ledger", "rebuild"), ("ledger", "verify")):
        done = tapewright(*check, "--state", state)
        assert done.returncode == 0, done.stdout + done.stderr
    tax = tapewright(
        "ledger", "tax", "--year", f"{year_of(state)}", "--format", "8949", "--state", state
    )
    (line,) = csv.DictReader(io.StringIO(tax.stdout))
    assert (line["Description"], line["Date Acquired"], line["Cost Basis"]) == (
        "PAPER 0.01 SIM, paid as a fee", "05/01/2024", "0.75",
    )  # fmt: skip


def year_of(state: Path) -> int:
    told = tapewright("ledger", "export", "--table", "transfers", "--format", "csv", "--state",
                      state)  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(told.stdout)))
    assert [row["way"] for row in rows] == ["IN", "OUT"]
    return int(rows[0]["ts"][:4])

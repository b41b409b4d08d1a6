"""A run on a ledger that was tampered with, or whose start file is gone, says so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ledger_rates import events_of
from ledger.resume import RESUME_EVENTS_MIN
from ledger.store import RESUME_NAME
from ledger.writer import QUEUE_EVENTS_MAX, LedgerWriter
from tests.journeys.program import practice, start, tapewright, wait_for
from tests.ledger import attacker, factory

pytestmark = pytest.mark.slow

CHANGED = 5_000
"""A NO_TRADE: no start reads it, only the verification beside the engine does."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A ledger long enough for a quick start."""
    folder = tmp_path / "s"
    writer = LedgerWriter(folder, group_events=1024)
    for event in events_of("day", RESUME_EVENTS_MIN + 100):
        writer.append(event, factory.START_NS)
        if writer.depth > QUEUE_EVENTS_MAX // 2:
            writer.flush().result()
    writer.close()
    assert writer.failure is None
    assert (folder / RESUME_NAME).exists()
    return folder


def test_change_found_beside_the_engine_halts_it_and_is_one_plain_line(
    state: Path, tmp_path: Path
) -> None:
    attacker.run_sql(
        state,
        "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'does not pay', 'does pay')"
        f" AS BLOB) WHERE seq = {CHANGED}",
    )
    process = start(
        "run", "--venue", "sim", "--headless", "--mode", "observe", "--state", state,
        "--config", practice(tmp_path),
    )  # fmt: skip
    try:
        wait_for(state, process, lambda picture: picture.risk.is_halted)
    finally:
        process.terminate()
        _, narration = process.communicate(timeout=30)
    assert process.returncode == 1
    said = f"the ledger does not verify: seq {CHANGED}: the hash is not that of the body"
    halted, ended = (line for line in narration.splitlines() if said in line)
    assert halted.startswith("tapewright: HALTED by the ledger: ")
    assert ended.startswith("tapewright: the ledger failed, which halted the run: ")
    assert ended.endswith("run: tapewright ledger verify, then put back a copy that verifies")
    assert "unexpected" not in narration
    assert not (state / "logs" / "crash.log").exists()


def test_refused_resume_is_one_line_and_a_count_in_the_ledger(state: Path, tmp_path: Path) -> None:
    (state / RESUME_NAME).unlink()
    done = tapewright(
        "run", "--venue", "sim", "--headless", "--duration", "1", "--state", state,
        "--config", practice(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [each for each in done.stderr.splitlines() if RESUME_NAME in each]
    assert line.endswith("ledger.resume was refused, it cannot be read (No such file or directory)")
    head = tapewright("ledger", "head", "--state", state).stdout
    seq = head.split('"seq":')[1].split(",")[0]
    assert '"resume_refused":1' in tapewright("ledger", "show", seq, "--state", state).stdout

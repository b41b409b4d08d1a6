"""Running from the command line: two processes, one engine, kill, restart, re-arm."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest

from core.control import Ack, Confirm, KillAll, Stop
from tests.journeys.program import ask, practice, start, tapewright, wait_for

pytestmark = pytest.mark.slow

QUICK = "[sim]\nhistory_s = 120\nspeed = 20\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    # Short: a Unix socket's path has 107 bytes.
    return tmp_path / "s"


class Run:
    """An engine started by a test, always ended by it."""

    def __init__(self, state: Path, *words: str | Path) -> None:
        self.state = state
        self.process: Popen[str] = start("run", "--headless", "--state", state, *words)

    def wait(self, seen):
        return wait_for(self.state, self.process, seen)

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        _, narration = self.process.communicate(timeout=30)
        return narration


@pytest.fixture
def engines() -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.stop()


def quick(tmp_path: Path, more: str = "") -> Path:
    path = practice(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + QUICK + more, encoding="utf-8")
    return path


def test_the_simulated_market_opens_with_a_past_and_a_proposal_can_be_confirmed(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    run = Run(state, "--config", quick(tmp_path))
    engines.append(run)
    seen = run.wait(lambda picture: picture.proposals)
    assert seen.account == "SIM"
    assert seen.instruments[0].bids
    assert len(seen.instruments[0].bars) > 60
    while True:
        reply = ask(state, Confirm(seen.proposals[0].decision_id))
        assert isinstance(reply, Ack)
        if reply.ok:
            break
        seen = run.wait(lambda picture: picture.proposals)
    filled = run.wait(lambda picture: picture.fills or picture.notices)
    run.stop()
    if filled.fills:
        told = tapewright("ledger", "explain", str(filled.fills[0].seq), "--state", state)
        assert filled.fills[0].rationale[:40] in " ".join(told.stdout.split())
    assert tapewright("ledger", "verify", "--state", state).returncode == 0


def test_a_second_engine_on_one_state_directory_is_refused_by_name(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    run = Run(state, "--config", quick(tmp_path))
    engines.append(run)
    run.wait(lambda _: True)
    second = tapewright("run", "--headless", "--state", state, "--config", quick(tmp_path))
    assert second.returncode == 3
    assert f"pid {run.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_kill_survives_kill_minus_nine_and_rearming_needs_a_reason(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    run = Run(state, "--mode", "auto", "--config", quick(tmp_path))
    engines.append(run)
    run.wait(lambda picture: picture.fills)
    reply = ask(state, KillAll(reason="test", actor="human:trader"))
    assert isinstance(reply, Ack)
    assert reply.ok
    flat = run.wait(lambda p: not p.orders and all(not view.lots for view in p.positions))
    assert flat.risk.is_halted
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    again = Run(state, "--mode", "auto", "--config", quick(tmp_path))
    engines.append(again)
    seen = again.wait(lambda picture: picture.instruments[0].forecasts)
    assert seen.risk.halt_reason == "test"
    assert not seen.proposals
    assert tapewright("rearm", "--reason", " ", "--state", state).returncode != 0
    assert tapewright("rearm", "--reason", "checked", "--state", state).returncode == 0
    again.wait(lambda picture: not picture.risk.is_halted)
    again.stop()
    assert tapewright("ledger", "verify", "--state", state).returncode == 0


def lots_of(side: str, quantity: str) -> int:
    return round(float(quantity) * 1000) * (1 if side == "BUY" else -1)


def test_killed_at_random_moments_every_restart_verifies_and_positions_equal_fills(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    generator = np.random.default_rng(5)
    config = quick(tmp_path)
    for _ in range(3):
        run = Run(state, "--mode", "auto", "--config", config)
        engines.append(run)
        before = run.wait(lambda picture: picture.instruments[0].forecasts)
        fills = len(before.fills)
        run.wait(lambda picture, fills=fills: len(picture.fills) > fills)
        time.sleep(generator.uniform(0, 0.3))
        run.process.send_signal(signal.SIGKILL)
        run.process.communicate()
        verified = tapewright("ledger", "verify", "--state", state)
        assert verified.returncode == 0, verified.stdout
        exported = tapewright("ledger", "export", "--table", "fills", "--format", "jsonl",
                              "--out", "-", "--state", state)  # fmt: skip
        rows = [json.loads(line) for line in exported.stdout.splitlines()]
        booked = {row["seq"]: lots_of(row["side"], row["quantity"]) for row in rows}
        restarted = Run(state, "--mode", "observe", "--config", config)
        engines.append(restarted)
        seen = restarted.wait(lambda picture: True)
        # A fill that the venue had made and we had not heard of is told as the next run starts.
        booked |= {fill.seq: lots_of(fill.side, fill.qty) for fill in seen.fills}
        assert sum(view.lots for view in seen.positions) == sum(booked.values())
        restarted.stop()


def test_status_kill_and_stop_from_the_command_line(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    run = Run(state, "--config", quick(tmp_path))
    engines.append(run)
    run.wait(lambda picture: picture.instruments[0].bids)
    status = tapewright("status", "--json", "--state", state)
    assert json.loads(status.stdout)
    assert tapewright("kill", "--reason", "by hand", "--state", state).returncode == 0
    assert "by hand" in tapewright("status", "--state", state).stdout
    reply = ask(state, Stop())
    assert isinstance(reply, Ack)
    assert run.process.wait(20) == 0
    assert tapewright("status", "--state", state).returncode == 3


def test_a_run_ends_after_its_duration_and_writes_its_end(state: Path, tmp_path: Path) -> None:
    done = tapewright("run", "--headless", "--duration", "1", "--state", state,
                      "--config", quick(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = tapewright("ledger", "export", "--table", "events", "--format", "jsonl", "--out", "-",
                        "--state", state).stdout  # fmt: skip
    assert "RUN_STARTED" in events.splitlines()[0]
    assert "RUN_ENDED" in events.splitlines()[-1]


def test_three_mistakes_in_a_config_are_told_at_once(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[risk]\nmax_open_orders = 0\nmax_lots = 3\n[run]\nmode = "yolo"\n')
    done = tapewright("run", "--headless", "--state", state, "--config", config)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(str(config) in line for line in lines)
    assert not (state / "ledger.db").exists()


def test_a_corrupted_ledger_byte_stops_a_start_with_the_bad_seq(
    state: Path, tmp_path: Path
) -> None:
    config = quick(tmp_path)
    words = ("run", "--headless", "--duration", "0.5", "--state", state, "--config", config)
    assert tapewright(*words).returncode == 0
    database = state / "ledger.db"
    data = database.read_bytes()
    place = data.index(b'"RUN_STARTED"')
    database.write_bytes(data[:place] + b'"RUN_STARTER"' + data[place + 13 :])
    done = tapewright(*words)
    assert done.returncode == 1
    assert "seq 1" in done.stderr
    assert tapewright("ledger", "verify", "--state", state).returncode == 1


def test_a_recording_that_reached_its_bound_is_told_once_on_the_screen(
    state: Path, tmp_path: Path, engines: list[Run]
) -> None:
    config = quick(tmp_path, "[feed]\nrecord_max_mib = 1\n")
    config.write_text(config.read_text(encoding="utf-8").replace("speed = 20", "speed = 600"))
    run = Run(state, "--record", "--mode", "observe", "--config", config)
    engines.append(run)
    seen = run.wait(lambda p: any("recording has ended" in note.text for note in p.notices))
    again = run.wait(lambda p: p.number > seen.number + 3)
    assert sum("recording has ended" in note.text for note in again.notices) == 1

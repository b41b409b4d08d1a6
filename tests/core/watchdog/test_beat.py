from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.watchdog.beat import BEAT_NAME, BeatFile, EngineBeat, Phase, WatchdogBeat
from core.watchdog.handle import ProcessHandle, start_ticks

BEAT = EngineBeat(1234, 99, Phase.TRADING, 5_000, is_closed=True)


@pytest.fixture
def beats(tmp_path: Path) -> Iterator[BeatFile]:
    file = BeatFile.create(tmp_path)
    yield file
    file.close()


def test_both_halves_are_read_back_through_another_descriptor(
    beats: BeatFile, tmp_path: Path
) -> None:
    other = BeatFile.open(tmp_path)
    assert other.engine() is None
    assert other.watchdog() is None
    beats.write_engine(BEAT)
    other.write_watchdog(WatchdogBeat(5678, 6_000))
    assert other.engine() == BEAT
    assert beats.watchdog() == WatchdogBeat(5678, 6_000)
    other.close()


def test_a_new_run_makes_a_new_file_so_that_an_old_watchdog_speaks_into_the_void(
    beats: BeatFile, tmp_path: Path
) -> None:
    newer = BeatFile.create(tmp_path)
    beats.write_watchdog(WatchdogBeat(1, 1))
    beats.write_engine(BEAT)
    assert newer.watchdog() is None
    assert newer.engine() is None
    newer.close()


@pytest.mark.parametrize("body", [b"", b"short", b"x" * 128, b"twbeat/1" + b"\xff" * 120])
def test_what_is_no_heartbeat_is_not_believed(beats: BeatFile, body: bytes) -> None:
    os.ftruncate(beats.fd, 0)
    os.pwrite(beats.fd, body, 0)
    assert beats.engine() is None
    assert beats.watchdog() is None


def test_a_half_being_written_is_not_believed(beats: BeatFile) -> None:
    beats.write_engine(BEAT)
    os.pwrite(beats.fd, b"\x07", 8)  # the first count is ahead of the last
    assert beats.engine() is None


def test_the_file_is_its_owners_alone(beats: BeatFile, tmp_path: Path) -> None:
    del beats
    assert (tmp_path / BEAT_NAME).stat().st_mode & 0o777 == 0o600


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def test_a_handle_signals_the_process_and_sees_its_end(sleeper: subprocess.Popen[bytes]) -> None:
    handle = ProcessHandle(sleeper.pid, start_ticks(sleeper.pid))
    assert not handle.wait(0)
    assert handle.send(signal.SIGKILL)
    assert handle.wait(10_000)
    sleeper.wait()
    assert not handle.send(signal.SIGKILL), "there is nobody left to hit"
    handle.close()


def test_a_handle_refuses_another_process_with_the_same_number(
    sleeper: subprocess.Popen[bytes],
) -> None:
    with pytest.raises(ProcessLookupError, match="another process"):
        ProcessHandle(sleeper.pid, start_ticks(sleeper.pid) + 1)

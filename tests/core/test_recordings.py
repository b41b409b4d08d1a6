"""Recordings of a run: bounds over all runs of a state directory, trouble told, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from core.config import StorageSettings
from core.feeds.capture import CaptureMeta
from core.feeds.recorder import CaptureWriter
from core.model.event import FilesRemoved
from core.recordings import LOOK_NS, Recordings
from core.state import StateDir
from core.tape.reader import TapeReader
from core.tape.writer import TapeWriter
from tests.core.tape.made import BTC, T0, some_rows

MIB = 2**20


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state").create()


def make(state: StateDir, bounds: StorageSettings) -> Recordings:
    tape = TapeWriter(state.tapes, [BTC], run_id="now")
    meta = CaptureMeta("binance", ("BTCUSDT",), (BTC,))
    capture = CaptureWriter(state.captures / "now.jsonl.gz", meta)
    return Recordings(state, bounds, tape, {"binance": capture})


def old_file(folder: Path, name: str, age: int, size: int) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, ns=(T0 - age, T0 - age))
    return path


def test_oldest_tapes_and_captures_of_other_runs_go_and_are_named_for_the_ledger(
    state: StateDir,
) -> None:
    bounds = msgspec.structs.replace(StorageSettings(), tapes_max_mib=64, captures_max_mib=64)
    for run in range(5):
        old_file(state.tapes, f"old-{run}.tape", 5 - run, 20 * MIB)
        old_file(state.captures, f"old-{run}.jsonl.gz", 5 - run, 30 * MIB)
    recordings = make(state, bounds)
    removed = recordings.on_time(T0)
    assert removed == [
        FilesRemoved("tape", ("old-0.tape", "old-1.tape"), 40 * MIB, 64 * MIB),
        FilesRemoved(
            "capture", ("old-0.jsonl.gz", "old-1.jsonl.gz", "old-2.jsonl.gz"), 90 * MIB, 64 * MIB
        ),
    ]
    assert recordings.files_removed == 5
    assert recordings.tapes_bytes <= 64 * MIB
    assert recordings.captures_bytes <= 64 * MIB
    assert recordings.tape.path.exists()
    recordings.close()


def test_folders_are_measured_every_while_and_not_at_every_call(state: StateDir) -> None:
    bounds = msgspec.structs.replace(StorageSettings(), tapes_max_mib=64)
    recordings = make(state, bounds)
    recordings.on_time(T0)
    old_file(state.tapes, "big.tape", 1, 65 * MIB)
    assert recordings.on_time(T0 + LOOK_NS - 1) == []
    (removed,) = recordings.on_time(T0 + LOOK_NS)
    assert removed.names == ("big.tape",)
    recordings.close()


def test_tape_hears_of_time(state: StateDir) -> None:
    recordings = make(state, StorageSettings())
    for row in some_rows(256):
        recordings.tape.append(row)
    recordings.on_time(T0)
    assert len(TapeReader(recordings.tape.path).rows()) == 256
    recordings.close()


def test_trouble_names_each_part_that_ended(state: StateDir) -> None:
    recordings = make(state, StorageSettings())
    assert recordings.trouble() == ""
    recordings.tape.failure = "disk full"
    assert recordings.captures
    recordings.captures["binance"].stopped = "bound reached"
    assert recordings.trouble() == (
        "the tape has ended: disk full; the recording has ended: bound reached"
    )
    recordings.close()

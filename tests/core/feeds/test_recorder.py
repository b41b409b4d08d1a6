"""The recorder: what it writes reads back, cut or not, and a bad disk stops only itself."""

from __future__ import annotations

import pytest

from core.errors import CaptureError
from core.feeds.capture import CaptureMeta, read_capture
from core.feeds.recorder import CaptureWriter
from tests.core.feeds.wire import T0, S, instrument


def meta() -> CaptureMeta:
    one = instrument("coinbase", "BTC-USD")
    return CaptureMeta("coinbase", (one.name,), (one,))


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "w.jsonl.gz"
    with CaptureWriter(path, meta()) as writer:
        writer.opened(T0, "wss://x")
        writer.sent(T0 + 1, "sub")
        writer.received(T0 + 2, '{"é":1}'.encode())
        writer.fetched(T0 + 3, "https://x", b"{}")
        writer.closed(T0 + 4, "done")
    reader = read_capture(path)
    assert [(r.kind, r.ns - T0, r.text, r.url, r.why) for r in reader] == [
        ("open", 0, "", "wss://x", ""),
        ("send", 1, "sub", "", ""),
        ("recv", 2, '{"é":1}', "", ""),
        ("http", 3, "{}", "https://x", ""),
        ("close", 4, "", "", "done"),
    ]
    assert reader.meta == meta()
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_is_never_overwritten(tmp_path):
    path = tmp_path / "old.jsonl.gz"
    path.write_bytes(b"precious")
    with pytest.raises(CaptureError, match="exists; a capture is never overwritten"):
        CaptureWriter(path, meta())
    assert path.read_bytes() == b"precious"


def test_unfinished_file_reads_to_the_last_flush(tmp_path):
    path = tmp_path / "killed.jsonl.gz"
    writer = CaptureWriter(path, meta())
    for n in range(10):
        writer.received(T0 + n * S, b"{}")
    at_kill = path.read_bytes()
    writer.finish()
    copy = tmp_path / "copy.gz"
    copy.write_bytes(at_kill)
    reader = read_capture(copy)
    assert len(list(reader)) == 10
    assert reader.was_cut


def test_recording_stops_at_its_bound_and_counts_what_it_dropped(tmp_path):
    path = tmp_path / "full.jsonl.gz"
    with CaptureWriter(path, meta(), max_bytes=2_000) as writer:
        for n in range(1_000):
            writer.received(T0 + n * S, str(n * 7919).encode())
    assert writer.dropped > 0
    assert writer.written + writer.dropped == 1_000
    assert "reached its bound" in writer.stopped
    reader = read_capture(path)
    assert len(list(reader)) == writer.written
    assert not reader.was_cut


def test_keys_and_signatures_are_not_recorded(tmp_path):
    path = tmp_path / "auth.jsonl.gz"
    with CaptureWriter(path, meta()) as writer:
        writer.sent(T0, '{"action":"auth","key":"AKSECRET1","secret" : "TOPSECRET2"}')
    (record,) = read_capture(path)
    assert record.text == '{"action":"auth","key":"<SECRET>","secret" : "<SECRET>"}'


def test_full_disk_stops_the_recording_and_not_the_caller(tmp_path):
    writer = CaptureWriter(tmp_path / "disk.jsonl.gz", meta())
    good = writer._file
    with open("/dev/full", "wb") as full:  # noqa: PTH123 (a device, not a path)
        writer._file = full.fileno()
        writer.received(T0 + 5 * S, b"{}")
        writer.received(T0 + 9 * S, b"{}")
        writer._file = good
    writer.finish()
    assert "No space left on device" in writer.stopped
    assert writer.dropped == 1

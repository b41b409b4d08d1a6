"""The recorder: what it writes reads back, cut or not, and a bad disk stops only itself."""

from __future__ import annotations

import resource
import signal
import zlib

import numpy as np
import pytest

from core.errors import CaptureError
from core.feeds.capture import CaptureMeta, read_capture
from core.feeds.recorder import CaptureWriter
from tests.core.feeds.wire import T0, S, instrument

DAY_NS = 86_400 * S


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


def at_kill(path, count, text, step_ns=S // 7):
    """Return the bytes of a file whose writer was killed in the middle."""
    writer = CaptureWriter(path, meta())
    for n in range(count):
        writer.received(T0 + n * step_ns, text(n))
    data = path.read_bytes()
    writer.finish()
    return data


def lines_of_cut(copy, data):
    copy.write_bytes(data)
    try:
        reader = read_capture(copy)
        found = [record.text for record in reader]
    except CaptureError:
        return None  # not even the first line
    assert reader.was_cut
    return found


@pytest.mark.slow
def test_file_cut_at_every_byte_reads_to_its_last_whole_line(tmp_path):
    data = at_kill(tmp_path / "w.jsonl.gz", 60, lambda n: b'{"n":%d}' % n)
    seen = 0
    for size in range(1, len(data)):
        found = lines_of_cut(tmp_path / "cut.gz", data[:size])
        if found is None:
            assert seen == 0
            continue
        # Whole lines, all of them in order, and never fewer than a shorter file had.
        assert found == [f'{{"n":{n}}}' for n in range(len(found))]
        assert len(found) >= seen
        seen = len(found)
    # The bytes end at a flush, after a whole line; what came since waited in the compressor.
    assert seen >= 50


@pytest.mark.slow
def test_big_file_cut_at_random_bytes_reads_to_its_last_whole_line(tmp_path):
    rng = np.random.default_rng(11)
    texts = [rng.bytes(int(rng.integers(10, 3_000))).hex() for _ in range(160)]
    data = at_kill(tmp_path / "w.jsonl.gz", 160, lambda n: texts[n].encode())
    assert len(data) > 2**17
    for size in rng.integers(200, len(data), 1_000).tolist():
        found = lines_of_cut(tmp_path / "cut.gz", data[:size])
        assert found is not None
        assert found == texts[: len(found)]
        # No more is lost than the line that was cut and what the inflater cannot give out yet.
        whole = zlib.decompressobj(31).decompress(data[:size]).count(b"\n") - 1
        assert len(found) >= whole


def rolling(tmp_path, max_bytes=100_000):
    return CaptureWriter(
        tmp_path / "part.jsonl.gz", meta(), max_bytes, lambda ns: tmp_path / f"part-{ns}.jsonl.gz"
    )


def test_new_day_begins_a_new_file_at_the_next_connection(tmp_path):
    with rolling(tmp_path) as writer:
        writer.opened(T0, "wss://x")
        writer.received(T0 + DAY_NS, b"still the old connection")
        writer.opened(T0 + DAY_NS + 1, "wss://x")
        writer.received(T0 + DAY_NS + 2, b"new")
    first, second = tmp_path / "part.jsonl.gz", tmp_path / f"part-{T0 + DAY_NS + 1}.jsonl.gz"
    assert [r.kind for r in read_capture(first)] == ["open", "recv"]
    reader = read_capture(second)
    assert [r.text for r in reader] == ["", "new"]
    assert reader.meta == meta()
    assert not reader.was_cut
    assert writer.path == second
    assert (writer.files, writer.written) == (2, 4)


def test_reconnect_begins_no_file_while_the_last_one_is_small(tmp_path):
    with rolling(tmp_path) as writer:
        for n in range(20):
            writer.opened(T0 + n, "wss://x")
    assert writer.files == 1


def test_recording_that_stopped_at_its_bound_goes_on_in_a_new_file(tmp_path):
    rng = np.random.default_rng(3)
    with rolling(tmp_path) as writer:
        writer.opened(T0, "wss://x")
        for n in range(100):
            writer.received(T0 + n * S, rng.bytes(2_000).hex().encode())
        assert "reached its bound" in writer.stopped
        dropped = writer.dropped
        assert dropped > 0
        writer.opened(T0 + 200 * S, "wss://x")
        writer.received(T0 + 201 * S, b"again")
        assert writer.stopped == ""
    assert writer.dropped == dropped
    assert [r.text for r in read_capture(writer.path)] == ["", "again"]


def test_finished_recording_begins_no_new_file(tmp_path):
    writer = rolling(tmp_path)
    writer.finish()
    writer.opened(T0 + 9 * DAY_NS, "wss://x")
    assert writer.dropped == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_everything_before_the_disk_was_full_reads_back(tmp_path):
    """The kernel itself refuses the write: the size of files of this process is limited."""
    rng = np.random.default_rng(5)
    path = tmp_path / "limited.jsonl.gz"
    writer = CaptureWriter(path, meta())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    texts = [rng.bytes(1_000).hex() for _ in range(100)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        for n, text in enumerate(texts):
            writer.received(T0 + n * S, text.encode())
        writer.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "the recording stopped" in writer.stopped
    assert path.stat().st_size == 40_000
    reader = read_capture(path)
    found = [record.text for record in reader]
    assert reader.was_cut
    assert found == texts[: len(found)]
    # Only what the failed write held is missing: each record was flushed on its own.
    assert writer.written - 2 <= len(found) <= writer.written

"""Writing: rows reach the disk in time, files follow each other, a full disk ends only the tape."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.tape.format import TapeError
from core.tape.reader import TapeReader, tape_files
from core.tape.writer import BUFFER_CHUNKS, MAX_AGE_NS, TapeWriter
from tests.core.tape.made import BTC, CHUNK, ETH, T0, read, some_rows, write

DAY_NS = 86_400 * NS_PER_S


def new_writer(folder: Path) -> TapeWriter:
    return TapeWriter(folder, [BTC, ETH], run_id="run", chunk_rows=CHUNK)


@given(count=st.integers(0, 23), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_rows_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    rows = some_rows(count, seed)
    writer = write(folder, rows)
    (path,) = tape_files(folder, "run")
    assert read(path).tobytes() == rows.tobytes()
    assert writer.counters.rows == count
    assert writer.counters.bytes_on_disk == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_wait_until_time_is_told_and_no_longer_than_their_age(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    rows = some_rows(2)
    for row in rows:
        writer.append(row)
    writer.on_time(T0)
    assert len(read(writer.path)) == 0
    writer.on_time(T0 + MAX_AGE_NS)
    assert read(writer.path).tobytes() == rows.tobytes()
    writer.append(rows[0])
    writer.on_time(T0 + MAX_AGE_NS + 1)
    assert len(read(writer.path)) == 2
    writer.close()


def test_a_whole_chunk_does_not_wait(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for row in some_rows(CHUNK + 1):
        writer.append(row)
    writer.on_time(T0)
    assert len(read(writer.path)) == CHUNK
    writer.close()
    assert len(read(writer.path)) == CHUNK + 1


def test_full_buffer_is_written_without_waiting_for_time(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for row in some_rows(BUFFER_CHUNKS * CHUNK):
        writer.append(row)
    assert len(read(writer.path)) == BUFFER_CHUNKS * CHUNK
    writer.close()


def test_big_file_is_closed_and_the_next_one_goes_on_counting(tmp_path: Path) -> None:
    rows = some_rows(60 * CHUNK)
    writer = write(tmp_path, rows, segment_bytes=2_000)
    files = tape_files(tmp_path, "run")
    assert writer.counters.files == len(files) > 3
    readers = [TapeReader(path) for path in files]
    assert np.concatenate([each.rows() for each in readers]).tobytes() == rows.tobytes()
    assert all(each.is_closed for each in readers)
    firsts = [each.info.first_chunk for each in readers]
    assert firsts == sorted(set(firsts))


def test_new_day_begins_a_new_file(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.on_time(T0)
    writer.append(some_rows(1)[0])
    writer.on_time(T0 + DAY_NS)
    first, second = tape_files(tmp_path, "run")
    assert len(read(first)) == 1
    assert TapeReader(second).info.first_chunk == 1
    writer.close()


def test_second_writer_of_one_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path, some_rows(1))
    with pytest.raises(TapeError, match="run"):
        new_writer(tmp_path)


def test_full_disk_ends_the_tape_but_not_the_trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some_rows(3 * CHUNK)
    writer = new_writer(tmp_path)
    for row in rows[:CHUNK]:
        writer.append(row)
    writer.flush()

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.tape.writer.os.write", full)
    for row in rows[CHUNK:]:
        writer.append(row)
    writer.flush()
    writer.append(rows[0])
    writer.close()
    assert "No space left" in writer.failure
    assert writer.counters.rows_lost == 2 * CHUNK + 1
    assert writer.counters.rows == CHUNK
    assert read(writer.path).tobytes() == rows[:CHUNK].tobytes()


def test_chunk_that_went_half_to_a_full_disk_is_cut_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = new_writer(tmp_path)
    real = os.write
    monkeypatch.setattr("core.tape.writer.os.write", lambda file, data: real(file, data[:50]))
    for row in some_rows(CHUNK):
        writer.append(row)
    writer.flush()
    reader = TapeReader(writer.path)
    assert len(reader.rows()) == 0
    assert not reader.is_cut
    assert "50 of" in writer.failure


def test_next_file_that_cannot_be_made_ends_the_tape(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    (tmp_path / "run-000001.tape").write_bytes(b"in the way")
    writer.on_time(T0)
    writer.append(some_rows(1)[0])
    writer.on_time(T0 + DAY_NS)
    assert "exists" in writer.failure
    assert len(read(tmp_path / "run-000000.tape")) == 1
    writer.append(some_rows(1)[0])
    assert writer.counters.rows_lost == 1

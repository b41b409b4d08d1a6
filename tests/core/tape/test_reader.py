"""Reading: cut files end early, damage is told by name, and can be read past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.tape.format import TapeError
from core.tape.reader import TapeReader, tape_files
from tests.core.tape.made import CHUNK, chunk_ends, read, some_rows, write


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Return a closed tape of three chunks."""
    write(tmp_path, some_rows(3 * CHUNK))
    (path,) = tape_files(tmp_path, "run")
    return path


def test_header_names_run_and_instruments_in_row_order(tape: Path) -> None:
    info = TapeReader(tape).info
    assert info.run_id == "run"
    assert info.first_chunk == 0
    assert [each.name for each in info.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert (info.instruments[1].tick_size, info.instruments[1].lot_size) == ("0.01", "0.0001")


@pytest.mark.slow
def test_file_cut_at_any_byte_reads_to_its_last_whole_chunk(tape: Path, tmp_path: Path) -> None:
    rows, whole, ends = some_rows(3 * CHUNK), tape.read_bytes(), chunk_ends(tape)
    cut = tmp_path / "cut.tape"
    for size in range(ends[0], len(whole)):
        cut.write_bytes(whole[:size])
        chunks = sum(end <= size for end in ends[1:])
        reader = TapeReader(cut)
        assert reader.rows().tobytes() == rows[: chunks * CHUNK].tobytes()
        assert reader.is_cut is (size not in ends)
        assert not reader.is_closed
    cut.write_bytes(whole)
    reader = TapeReader(cut)
    reader.rows()
    assert reader.is_closed
    assert not reader.is_cut


@pytest.mark.slow
def test_any_flipped_byte_is_told_with_the_file(tape: Path, tmp_path: Path) -> None:
    whole = tape.read_bytes()
    bad = tmp_path / "bad.tape"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        bad.write_bytes(damaged)
        with pytest.raises(TapeError, match=r"bad\.tape"):
            read(bad)


def test_chunks_before_the_damaged_one_are_read_and_it_is_named(tape: Path) -> None:
    damaged = bytearray(tape.read_bytes())
    damaged[chunk_ends(tape)[2] - 1] ^= 1
    tape.write_bytes(damaged)
    chunks = TapeReader(tape).chunks()
    assert next(chunks).tobytes() == some_rows(3 * CHUNK)[:CHUNK].tobytes()
    with pytest.raises(TapeError, match="chunk 1 is damaged: its checksum does not hold"):
        next(chunks)


@pytest.mark.parametrize("place", ["head", "rows"])
def test_reading_goes_on_past_damage_when_asked(tape: Path, place: str) -> None:
    rows, damaged = some_rows(3 * CHUNK), bytearray(tape.read_bytes())
    ends = chunk_ends(tape)
    damaged[ends[1] + 6 if place == "head" else ends[2] - 1] ^= 1
    tape.write_bytes(damaged)
    told: list[str] = []
    reader = TapeReader(tape)
    found = np.concatenate(list(reader.chunks(told.append)))
    assert found.tobytes() == np.concatenate([rows[:CHUNK], rows[2 * CHUNK :]]).tobytes()
    assert reader.is_closed
    assert any("damaged" in line for line in told)


def test_chunk_taken_out_of_the_middle_is_told(tape: Path) -> None:
    whole, ends = tape.read_bytes(), chunk_ends(tape)
    tape.write_bytes(whole[: ends[1]] + whole[ends[2] :])
    with pytest.raises(TapeError, match="chunk 1 is not there, next is 2"):
        read(tape)


def test_bytes_behind_the_end_mark_are_told(tape: Path) -> None:
    whole, ends = tape.read_bytes(), chunk_ends(tape)
    tape.write_bytes(whole + whole[ends[2] : ends[3]])
    with pytest.raises(TapeError):
        read(tape)


@pytest.mark.parametrize("content", [b"", b"TWTAPE\r\n", b"{}" * 60])
def test_file_that_is_no_tape_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tape"
    path.write_bytes(content)
    with pytest.raises(TapeError, match=r"odd\.tape: header is not that of a tape"):
        TapeReader(path)


def test_tape_of_the_first_version_is_told_apart(tape: Path) -> None:
    old = bytearray(tape.read_bytes())
    old[8] = 1
    tape.write_bytes(old)
    with pytest.raises(TapeError, match="says version 1, this program reads 2"):
        TapeReader(tape)


def test_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="absent"):
        TapeReader(tmp_path / "absent.tape")

"""``tapewright tape``: what it says of whole, cut and damaged tapes, and what it writes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from core.state import StateDir
from core.tape.reader import tape_files
from tests.core.tape.made import CHUNK, chunk_ends, some_rows, write


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state").create()
    write(state.tapes, some_rows(5 * CHUNK), segment_bytes=1_500)
    assert len(tape_files(state.tapes, "run")) > 1
    return state


def _tape(state: StateDir, *words: str) -> int:
    return main(["tape", *words, "--state", str(state.path)])


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[chunk_ends(path)[1] - 1] ^= 1
    path.write_bytes(data)


def test_list_names_each_run_once(state: StateDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert _tape(state, "list") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"run  {len(tape_files(state.tapes, 'run'))} file(s)  ")


def test_list_of_nothing_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _tape(StateDir(tmp_path / "new"), "list") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no tapes in" in captured.err


def test_show_tells_run_instruments_rows_span_and_end(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _tape(state, "show", "run") == 0
    out = capsys.readouterr().out
    assert "binance BTCUSDT  tick 0.01  lot 0.00001" in out
    assert "closed in order" in out
    assert "2001-09-09T01:46:40" in out
    assert "DAMAGED" not in out


def test_show_names_damage_and_fails(state: StateDir, capsys: pytest.CaptureFixture[str]) -> None:
    path = tape_files(state.tapes, "run")[0]
    damage(path)
    assert _tape(state, "show", str(path)) == 1
    assert f"DAMAGED      {path}: chunk 0 is damaged" in capsys.readouterr().out


def test_show_tells_a_cut_file_and_what_the_disk_bound_took(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_, last = tape_files(state.tapes, "run")
    first.unlink()
    last.write_bytes(last.read_bytes()[:-30])
    assert _tape(state, "show", "run") == 0
    out = capsys.readouterr().out
    assert "cut in its last chunk" in out
    assert "chunk(s) before" in out


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_export_writes_every_row_in_the_format_of_the_name(
    state: StateDir, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert _tape(state, "export", "run", "--out", str(out)) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{5 * CHUNK} rows written to {out}" in captured.err
    read = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    assert len(read[out.suffix](out)) == 5 * CHUNK


def test_export_of_a_time_takes_no_other(state: StateDir, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    since, until = "2001-09-09T01:46:40.002Z", "2001-09-09T01:46:40.005Z"
    assert _tape(state, "export", "run", "--out", str(out), "--since", since, "--until", until) == 0
    assert len(pl.read_parquet(out)) == 3


def test_damage_refuses_the_export_unless_it_may_be_left_out(
    state: StateDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tape_files(state.tapes, "run")[0])
    out = tmp_path / "out.parquet"
    assert _tape(state, "export", "run", "--out", str(out)) == 2
    assert not out.exists()
    assert "chunk 0 is damaged" in capsys.readouterr().err
    assert _tape(state, "export", "run", "--out", str(out), "--skip-damage") == 1
    assert len(pl.read_parquet(out)) == 4 * CHUNK
    assert "left out:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "nope", "--out", "x.csv"), "nope: neither a file nor a run in"),
        (("export", "../*", "--out", "x.csv"), "neither a file nor a run in"),
        (("export", "run", "--out", "x.dat"), "the end of the name says no format"),
        (("export", "run", "--out", "x.csv", "--since", "noon"), "--since was 'noon'"),
        (("export", "run", "--out", "x.csv", "--instrument", "XRP"), "no instrument 'XRP'"),
    ],
)
def test_mistakes_are_told_in_one_line(
    state: StateDir, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _tape(state, *words) == 2
    assert said in capsys.readouterr().err

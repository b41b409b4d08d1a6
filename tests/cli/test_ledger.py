"""``tapewright ledger``: exit codes, one line for one answer, data on stdout only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.ledger import ledger_app
from cli.ledger_export import TableName
from cli.main import main
from core.model.event import KillTripped
from core.state import EngineLock, StateDir
from ledger.export.tables import TABLES
from ledger.store import DB_NAME
from ledger.writer import LedgerWriter
from tests.ledger import factory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path)
    return tmp_path


def _ledger(state_dir: Path, *words: str) -> int:
    return main(["ledger", *words, "--state", str(state_dir)])


def test_verify_prints_one_ok_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ledger(state, "verify") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ok seq 20 hash ")
    assert captured.out.count("\n") == 1
    assert captured.err == ""


def test_verify_names_the_first_bad_seq(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "ledger.head").unlink()
    data = (state / DB_NAME).read_bytes()
    assert data.count(b"first book") == 1
    (state / DB_NAME).write_bytes(data.replace(b"first book", b"worst book"))
    assert _ledger(state, "verify") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seq 2: the hash is not that of the body")
    assert "witness ledger.head is missing" in lines[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("verify",), ("head",), ("show", "1"), ("explain", "1"), ("lots",),
        ("export", "--table", "fills"), ("checkpoint",),
        ("tax", "--year", "2026", "--format", "8949"),
    ],
)  # fmt: skip
def test_missing_ledger_exits_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert _ledger(tmp_path / "nowhere", *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "no ledger in" in captured.err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("verify",), ("head",), ("lots",), ("export", "--table", "fills"), ("checkpoint",),
        ("tax", "--year", "2026", "--format", "koinly"),
    ],
)  # fmt: skip
def test_unreadable_ledger_exits_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (tmp_path / DB_NAME).write_bytes(b"garbage" * 1000)
    assert _ledger(tmp_path, *words) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "cannot be read" in captured.err


def test_head_is_json(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ledger(state, "head") == 0
    head = json.loads(capsys.readouterr().out)
    assert head["seq"] == 20
    assert len(head["hash"]) == 64
    assert list(head) == ["seq", "hash"]


def test_show_prints_the_raw_event(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ledger(state, "show", "f-run-1-out-1") == 0
    event = json.loads(capsys.readouterr().out)
    assert (event["seq"], event["payload"]["realized_pnl"]) == (18, "0.6199884")


def test_explain_tells_the_story(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ledger(state, "explain", "18") == 0
    assert "Realized 0.6199884 USD" in capsys.readouterr().out


def test_lots_are_listed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ledger(state, "lots") == 0
    assert capsys.readouterr().out == "no lots\n"
    assert _ledger(state, "lots", "--closed") == 0
    assert capsys.readouterr().out.endswith("realized in all: 0.6199884\n")
    assert _ledger(state, "lots", "--closed", "--json") == 0
    lots = json.loads(capsys.readouterr().out)
    assert [(lot["open_seq"], lot["close_seq"], lot["quantity"]) for lot in lots] == [
        (9, 18, "4"),
        (11, 18, "6"),
    ]


def test_export_writes_a_file_and_narrates_on_stderr(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = state / "fills.csv"
    assert _ledger(state, "export", "--table", "fills", "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8").count("\n") == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3 rows of fills" in captured.err


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "ledger.head", "ledger.key"])
def test_export_never_replaces_the_ledger(state: Path, name: str) -> None:
    before = (state / DB_NAME).read_bytes()
    assert _ledger(state, "export", "--table", "fills", "--out", str(state / name)) == 2
    assert (state / DB_NAME).read_bytes() == before


def test_export_takes_a_period_and_refuses_nonsense(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("export", "--table", "fills", "--out", str(state / "x.csv"))
    assert _ledger(state, *words, "--since", "2026-01-01T00:00:01.5", "--until", "2026-01-02") == 0
    assert "1 rows" in capsys.readouterr().err
    assert _ledger(state, *words, "--since", "soon") == 2
    assert _ledger(state, "export", "--table", "secrets") == 2


def test_tax_rows_are_data_and_the_warning_is_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ledger(state, "tax", "--year", "2026", "--format", "8949") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1:] == [
        "I,PAPER 4 SIM,01/01/2026,01/01/2026,400.36,400.08,,,0.28,sim,L9-18,18",
        "I,PAPER 6 SIM,01/01/2026,01/01/2026,600.53,600.19,,,0.34,sim,L11-18,18",
    ]
    told = captured.err.splitlines()
    assert all(line.startswith("tapewright: ") for line in told)
    assert len(told) == 3
    assert "none of it is taxable, and none of this is tax advice" in told[0]
    assert "gain 0.62 USD" in told[1]
    assert "2 rows of 2026 written to stdout" in told[2]


def test_tax_year_is_that_of_the_zone_and_an_empty_one_is_a_header(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = state / "tax.csv"
    words = ("tax", "--format", "cointracker", "--out", str(out), "--timezone", "-05:00", "--year")
    assert _ledger(state, *words, "2025") == 0
    assert out.read_text(encoding="utf-8").count("\n") == 4
    assert capsys.readouterr().out == ""
    assert _ledger(state, *words, "2026") == 0
    assert out.read_text(encoding="utf-8").count("\n") == 1
    assert "no fills in 2026 (UTC-05:00): the file has only its header" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--year", "2026", "--format", "8949", "--timezone", "Mars"), "--timezone was 'Mars'"),
        (("--year", "2026", "--format", "8949", "--out", "ledger.db"), "is the ledger itself"),
        (("--year", "26", "--format", "8949"), "--year"),
        (("--year", "2026", "--format", "txf"), "--format"),
        (("--year", "2026"), "--format"),
        (("--format", "8949"), "--year"),
    ],
)
def test_tax_asked_badly_exits_with_two(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(state)
    before = (state / DB_NAME).read_bytes()
    assert _ledger(state, "tax", *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in captured.err
    assert (state / DB_NAME).read_bytes() == before


def _add_one(state_dir: Path) -> None:
    writer = LedgerWriter(state_dir)
    writer.append(KillTripped("all", "human:trader", "F12"), factory.START_NS)
    writer.close()


def test_checkpoint_is_data_on_stdout(
    state: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert _ledger(state, "checkpoint") == 0
    captured = capsysbinary.readouterr()
    assert (state / "checkpoints.txt").read_bytes().endswith(captured.out + b"\n")
    assert b"\n20\n" in captured.out
    assert b"checkpoint over seq 1 to 20" in captured.err


def test_kept_checkpoint_is_verified_against(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.txt"
    _add_one(state)
    assert _ledger(state, "checkpoint", "--out", str(kept)) == 0
    assert "seq 1 to 21 written" in capsys.readouterr().err
    _add_one(state)
    assert _ledger(state, "verify", "--against", str(kept)) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ok seq 22 ")
    assert captured.out.endswith("are not signed yet; seq 1 to 21 are as signed in kept.txt\n")
    kept.write_text(kept.read_text(encoding="utf-8").replace("\n21\n", "\n20\n"), encoding="utf-8")
    assert _ledger(state, "verify", "--against", str(kept)) == 1
    assert "history was rewritten: kept.txt signs other events" in capsys.readouterr().out
    kept.write_text("hello", encoding="utf-8")
    assert _ledger(state, "verify", "--against", str(kept)) == 2
    assert "kept.txt is not a checkpoint" in capsys.readouterr().err


def test_checkpoint_while_an_engine_runs_is_the_newest_it_signed(
    state: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    _add_one(state)
    with EngineLock(StateDir(state), venue="sim", command="run", started_ns=0):
        assert _ledger(state, "checkpoint") == 0
    captured = capsysbinary.readouterr()
    assert b"\n20\n" in captured.out
    assert b"an engine runs here" in captured.err


@pytest.mark.slow
def test_export_signs_the_newest_events_first(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _add_one(state)
    words = ("export", "--table", "fills", "--out", str(state / "x.csv"))
    assert _ledger(state, *words) == 0
    assert "\n21\n" in (state / "checkpoints.txt").read_text(encoding="utf-8")
    _add_one(state)
    (state / "ledger.key").chmod(0o644)
    assert _ledger(state, *words) == 0
    assert "the newest events are not signed: " in capsys.readouterr().err
    with EngineLock(StateDir(state), venue="sim", command="run", started_ns=0):
        assert _ledger(state, *words) == 0
    assert "not signed" not in capsys.readouterr().err


@pytest.mark.parametrize("key", ["nobody", "3"])
def test_id_without_a_story_exits_with_two(
    state: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert _ledger(state, "explain", key) == 2
    assert capsys.readouterr().out == ""


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    names = [command.callback.__name__ for command in ledger_app.registered_commands]  # type: ignore[union-attr]
    assert names == [
        "anchor",
        "binder",
        "export",
        "rebuild",
        "replay",
        "checkpoint",
        "verify",
        "head",
        "show",
        "explain",
        "lots",
        "tax",
    ]
    for name in names:
        assert main(["ledger", name, "--help"]) == 0
        assert f"Example: tapewright ledger {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_verify_and_export_to_a_pipe_load_no_screen_and_no_polars(state: Path) -> None:
    code = (
        "import sys; from cli.main import main\n"
        f"assert main(['ledger', 'verify', '--state', {str(state)!r}]) == 0\n"
        f"assert main(['ledger', 'export', '--table', 'fills', '--state', {str(state)!r}]) == 0\n"
        "print([m for m in ('textual', 'torch', 'polars', 'numba') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok seq 20")
    assert lines[1].startswith("seq,ts,venue")
    assert lines[-1] == "[]"


def test_export_offers_every_table_that_there_is() -> None:
    assert {name.value for name in TableName} == set(TABLES)

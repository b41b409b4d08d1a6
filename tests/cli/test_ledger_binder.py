"""``tapewright ledger binder``: what it prints, and how it ends."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from core.state import EngineLock, StateDir
from ledger.binder import verify as verifier
from tests.ledger import factory


def _binder(state: Path, *words: str) -> int:
    return main(["ledger", "binder", "--state", str(state), *words])


@pytest.mark.slow
def test_binder_prints_the_zip_with_its_digest_and_how_to_check_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    factory.write_day(tmp_path / "state")
    assert _binder(tmp_path / "state", "--out", str(tmp_path / "out")) == 0
    captured = capsys.readouterr()
    digest, _, place = captured.out.strip().partition("  ")
    assert hashlib.sha256(Path(place).read_bytes()).hexdigest() == digest
    assert "seq 1 to 20 in " in captured.err
    assert "check it: python3 " in captured.err
    assert verifier.verify(Path(place), lambda line: None) == 0
    assert _binder(tmp_path / "state", "--out", str(tmp_path / "out")) == 2
    assert "is there already" in capsys.readouterr().err


def test_binder_while_an_engine_runs_is_for_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    factory.write(state, factory.day()[:5])  # the newest event is not signed
    with EngineLock(StateDir(state), venue="sim", command="run", started_ns=0):
        assert _binder(state, "--out", str(tmp_path / "out")) == 3
    assert "an engine already runs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_binder_without_a_ledger_or_with_a_time_that_is_none_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _binder(tmp_path, "--out", str(tmp_path / "out")) == 2
    assert "no ledger in" in capsys.readouterr().err
    (tmp_path / "state").mkdir()
    factory.write_day(tmp_path / "state")
    assert _binder(tmp_path / "state", "--out", str(tmp_path), "--from", "soon") == 2
    assert "--from was 'soon'" in capsys.readouterr().err
    assert _binder(tmp_path / "state", "--out", str(tmp_path), "--from", "2030-01-01") == 2
    assert "no event of this ledger lies in that time" in capsys.readouterr().err


@pytest.mark.slow
def test_other_commands_do_not_pay_for_the_report() -> None:
    code = (
        "import sys, cli.ledger\nprint([m for m in ('fpdf', 'PIL', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

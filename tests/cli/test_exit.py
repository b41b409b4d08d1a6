from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exit import CRASH_LOG_BYTES_MAX, exit_code_of, plain
from core.errors import (
    CaptureError,
    ConfigError,
    Failed,
    InvariantError,
    OffTickPrice,
    TryAgain,
    UserError,
)


def code_of(error: BaseException, folder: Path) -> int:
    def work() -> int:
        raise error

    return exit_code_of(work, lambda: folder)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 2),
        (ConfigError(["x"]), 2),
        (CaptureError("x"), 2),
        (OffTickPrice("x"), 2),
        (TryAgain("x"), 3),
        (Failed("x"), 1),
        (KeyboardInterrupt(), 130),
        (InvariantError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_each_error_has_its_code(error: BaseException, code: int, tmp_path: Path) -> None:
    assert code_of(error, tmp_path) == code


def test_each_finding_is_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code_of(ConfigError(["a.toml: one", "a.toml: two"]), tmp_path)
    shown = capsys.readouterr()
    assert shown.err == "tapewright: a.toml: one\ntapewright: a.toml: two\n"
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


def test_unexpected_error_is_one_line_and_a_private_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code_of(InvariantError("filled\nmore \x1b[2J"), tmp_path)
    log = tmp_path / "logs" / "crash.log"
    err = capsys.readouterr().err
    assert "unexpected InvariantError: filled" in err
    assert str(log) in err
    assert "\x1b" not in err
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_crash_log_appends_and_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "crash.log"
    for _ in range(2):
        code_of(ValueError("first"), tmp_path)
    assert log.read_text().count("ValueError: first") == 2
    log.write_text("x" * (CRASH_LOG_BYTES_MAX + 1))
    code_of(ValueError("second"), tmp_path)
    assert log.stat().st_size < CRASH_LOG_BYTES_MAX
    assert sorted(path.name for path in log.parent.iterdir()) == ["crash.1.log", "crash.log"]


def test_crash_without_a_usable_state_directory_still_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "state").write_text("a file")
    code_of(ValueError("x"), tmp_path / "state")
    (log,) = tmp_path.glob("tapewright-*/crash.log")
    assert str(log) in capsys.readouterr().err


def test_line_for_an_ascii_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert plain("\u00e9") == "\\xe9"
    assert plain("a\x07b") == "a\\ufffdb"


@pytest.mark.slow
def test_reader_that_goes_away_is_no_error_and_no_noise() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "--help"],
            check=False,
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from cli import doctor
from cli.doctor import Level
from cli.main import main
from core.latch import KillLatch
from core.state import EngineLock, StateDir


def test_each_line_has_a_level_a_name_and_a_remedy_where_one_is_due(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--state", str(state.path)])
    lines = capsys.readouterr().out.splitlines()
    levels = [line.split()[0] for line in lines]
    assert set(levels) <= {"ok", "warn", "FAIL"}
    assert code == int("FAIL" in levels)
    for line in lines:
        assert line.startswith("ok") or "; " in line, "no remedy"
    names = " ".join(lines)
    for wanted in ("python", "kernels", "state", "filesystem", "disk", "clock", "ledger", "agent"):
        assert f" {wanted} " in names


def test_one_fail_is_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--state", str(tmp_path / "file")]) == 1
    assert "FAIL  state" in capsys.readouterr().out


def test_doctor_changes_nothing(tmp_path: Path) -> None:
    main(["doctor", "--state", str(tmp_path / "new")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 10, 12), Level.FAIL),
        ((3, 11, 0), Level.OK),
        ((3, 12, 9), Level.OK),
        ((3, 13, 0), Level.FAIL),
    ],
)
def test_python_is_one_that_we_support(version: tuple[int, ...], level: Level) -> None:
    assert doctor.check_python(version).level is level


@pytest.mark.parametrize(
    ("mib", "level"), [(10, Level.FAIL), (500, Level.WARN), (50_000, Level.OK)]
)
def test_disk_levels(mib: int, level: Level) -> None:
    check = doctor.check_disk(mib * 2**20)
    assert (check.level, check.text) == (level, f"{mib} MiB free")


@pytest.mark.parametrize(
    ("kind", "level"),
    [("ext4", Level.OK), ("nfs4", Level.FAIL), ("tmpfs", Level.WARN), (None, Level.WARN)],
)
def test_file_system_that_cannot_lock_fails(kind: str | None, level: Level) -> None:
    assert doctor.check_filesystem(kind).level is level


def test_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    deep = tmp_path / "a dir" / "state"
    deep.mkdir(parents=True)
    spelled = str(tmp_path / "a dir").replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {spelled} nfs4 rw 0 0\nbroken\n\n")
    assert doctor.filesystem_of(deep, mounts) == "nfs4"
    assert doctor.filesystem_of(deep / "not" / "yet", mounts) == "nfs4"
    assert doctor.filesystem_of(tmp_path, mounts) == "ext4"
    assert doctor.filesystem_of(tmp_path, tmp_path / "none") is None


def test_loose_state_directory_is_a_warning(state: StateDir) -> None:
    (check,) = doctor.check_state_dir(state)
    assert check.level is Level.OK
    state.path.chmod(0o755)
    (check,) = doctor.check_state_dir(state)
    assert (check.level, check.remedy) == (Level.WARN, f"chmod 700 {state.path}")


def test_latch_is_a_warning_with_the_way_out(state: StateDir) -> None:
    assert doctor.check_latch(state).level is Level.OK
    KillLatch(state.path).trip("daily loss", "system", 1)
    check = doctor.check_latch(state)
    assert (check.level, check.text) == (Level.WARN, "HALTED: daily loss")
    assert "tapewright rearm" in check.remedy


def test_a_latch_of_one_scope_is_a_warning_too(state: StateDir) -> None:
    KillLatch(state.path).of("strategy").trip("out of its depth", "human:trader", 1)
    check = doctor.check_latch(state)
    assert (check.level, check.text) == (Level.WARN, "HALTED: the strategy: out of its depth")
    assert "--strategy" in check.remedy


def test_witness_without_its_ledger_fails(state: StateDir) -> None:
    assert doctor.check_ledger(state).level is Level.OK
    state.ledger_head.write_text("{}")
    assert doctor.check_ledger(state).level is Level.FAIL
    state.ledger_db.write_bytes(b"x" * 4096)
    check = doctor.check_ledger(state)
    assert (check.level, check.text.split(";")[0]) == (Level.OK, "4 KiB")


def test_running_engine_is_named(state: StateDir, held: EngineLock) -> None:
    assert "venue sim" in doctor.check_engine(state).text
    held.release()
    assert doctor.check_engine(state).text == "none runs here"


@pytest.mark.parametrize(
    ("body", "level", "text"),
    [
        ("", Level.OK, "config.toml"),
        ("[strategy]\nmin_skill = -1\n", Level.WARN, "practice"),
        ("[run]\nseed = -1\nvenue = 'x'\n", Level.FAIL, "(and 1 more)"),
    ],
)
def test_config_is_read(tmp_path: Path, body: str, level: Level, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(body)
    check = doctor.check_config(file)
    assert check.level is level
    assert text in check.text


def test_kernels_are_counted_in_their_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert doctor.check_kernels().level is Level.WARN
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "book.1.nbc").touch()
    check = doctor.check_kernels()
    assert (check.level, check.text) == (Level.OK, f"1 compiled in {tmp_path}")


def test_own_models_are_found(state: StateDir) -> None:
    (state.models / "mine").mkdir()
    (state.models / "mine" / "policy.safetensors").touch()
    assert "mine" in doctor.check_agent(state).text.split(", ")


@pytest.mark.parametrize(
    ("result", "level"), [(0, Level.OK), (5, Level.WARN), (None, Level.WARN), (1, Level.OK)]
)
def test_clock_of_the_kernel_is_judged(result: int | None, level: Level) -> None:
    assert doctor.check_clock(result).level is level


def test_kernels_clock_answers_without_being_changed() -> None:
    if not hasattr(ctypes.CDLL(None), "adjtimex"):
        pytest.skip("no adjtimex(2) on this system")
    assert doctor._adjtimex() in {None, *range(6)}


def test_terminal_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        "shutil.get_terminal_size", lambda _: __import__("os").terminal_size((79, 50))
    )
    size, colours, _ = doctor.check_terminal({"TERM": "dumb"})
    assert (size.level, colours.level) == (Level.WARN, Level.WARN)
    monkeypatch.setattr(
        "shutil.get_terminal_size", lambda _: __import__("os").terminal_size((80, 24))
    )
    size, colours, _ = doctor.check_terminal({"TERM": "xterm", "COLORTERM": "truecolor"})
    assert (size.text, colours.text) == ("80x24", "xterm truecolor")

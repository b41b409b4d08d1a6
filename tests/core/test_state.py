from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import TryAgain, UserError
from core.state import EngineHolder, EngineLock, StateDir, resolve_state_dir, running_engine
from tests.core.sample import NOON_NS

HOLD = """
import sys
from pathlib import Path
from core.state import EngineLock, StateDir
lock = EngineLock(StateDir(Path(sys.argv[1])), venue="sim", command="run", started_ns=0)
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def lock_of(state: StateDir, venue: str = "sim", command: str = "run") -> EngineLock:
    return EngineLock(state, venue=venue, command=command, started_ns=NOON_NS)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state").create()


def test_default_is_the_platforms_user_state_directory(isolated_home: Path) -> None:
    assert resolve_state_dir(None) == isolated_home / "state" / "tapewright"


def test_relative_path_and_home_become_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/trader")
    assert resolve_state_dir(Path("~/s")) == Path("/home/trader/s")
    assert resolve_state_dir(Path("s")) == Path.cwd() / "s"


def test_unknown_home_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"~nobody-of-that-name"):
        resolve_state_dir(Path("~nobody-of-that-name/s"))


def test_create_makes_the_whole_layout_private(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "deep" / "state").create()
    for folder in (state.path, state.tapes, state.captures, state.models, state.logs):
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert state.ledger_db.parent == state.ledger_head.parent == state.path


def test_create_twice_keeps_what_is_there(state: StateDir) -> None:
    (state.models / "m").write_text("kept")
    state.path.chmod(0o750)
    state.create()
    assert (state.models / "m").read_text() == "kept"
    assert state.path.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("place", ["file", "file/below", "state-with-file"])
def test_directory_that_cannot_be_made_is_one_line_with_a_remedy(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "state-with-file").mkdir()
    (tmp_path / "state-with-file" / "logs").write_text("")
    with pytest.raises(UserError) as caught:
        StateDir(tmp_path / place).create()
    text = str(caught.value)
    assert "\n" not in text
    assert str(tmp_path / place) in text
    assert "--state DIR" in text


def test_second_engine_is_refused_by_the_name_of_the_first(state: StateDir) -> None:
    with (
        lock_of(state, venue="binance", command="run") as first,
        pytest.raises(TryAgain) as caught,
    ):
        lock_of(state).acquire()
    text = str(caught.value)
    assert "venue binance" in text
    assert "since 2026-01-01T12:00:00" in text
    assert f"tapewright attach --state {state.path}" in text
    del first


def test_lock_is_free_after_release_and_release_twice_is_harmless(state: StateDir) -> None:
    lock = lock_of(state)
    lock.acquire()
    lock.release()
    lock.release()
    with lock_of(state):
        assert running_engine(state) is not None
    assert running_engine(state) is None


def test_running_engine_reads_the_holders_own_words(state: StateDir) -> None:
    assert running_engine(state) is None
    with lock_of(state, venue="coinbase", command="replay"):
        holder = running_engine(state)
    assert holder is not None
    assert (holder.venue, holder.command) == ("coinbase", "replay")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"not json", b'{"pid": "x"}'])
def test_garbage_in_a_held_lock_file_still_refuses(state: StateDir, body: bytes) -> None:
    with lock_of(state):
        state.lock_file.write_bytes(body)
        with pytest.raises(TryAgain, match="not said its name"):
            lock_of(state).acquire()
        assert running_engine(state) == EngineHolder(0, "?", "?", "?")


def test_lock_file_that_is_a_directory_is_the_users_error(state: StateDir) -> None:
    state.lock_file.mkdir()
    with pytest.raises(UserError, match=r"engine\.lock"):
        lock_of(state).acquire()


@pytest.mark.slow
def test_kernel_frees_the_lock_of_a_killed_engine(state: StateDir) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(state.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as engine:
            assert engine.stdout is not None
            assert engine.stdout.readline() == b"held\n"
            with pytest.raises(TryAgain, match=f"pid {engine.pid} "):
                lock_of(state).acquire()
            engine.kill()
        with lock_of(state):
            pass

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Failed
from core.latch import REASON_CHARS_MAX, KillLatch, LatchState, latched_scopes
from tests.core.sample import NOON_NS

TRIP_AND_DIE = """
import os, signal, sys
from pathlib import Path
from core.latch import KillLatch
assert KillLatch(Path(sys.argv[1])).trip("prices look wrong", "human:trader", 5)
os.kill(os.getpid(), signal.SIGKILL)
"""
TRIP_WITHOUT_ROOM = """
import sys
from pathlib import Path
from core.latch import KillLatch
print(KillLatch(Path(sys.argv[1])).trip("disk full", "system", 5))
"""
LIST_MODULES = """
import sys
import core.latch
print("\\n".join(sys.modules))
"""


@pytest.fixture
def latch(tmp_path: Path) -> KillLatch:
    return KillLatch(tmp_path)


def test_no_file_means_not_halted(latch: KillLatch) -> None:
    assert latch.read() == LatchState(is_halted=False)
    assert latch.read().since == ""


def test_trip_is_read_back_with_its_reason(latch: KillLatch) -> None:
    assert latch.trip("daily loss", "system", NOON_NS)
    assert latch.read() == LatchState(
        is_halted=True, reason="daily loss", actor="system", since_ns=NOON_NS
    )
    assert latch.read().since.startswith("2026-01-01T12:00:00")


def test_trip_leaves_no_other_file_and_the_latch_private(latch: KillLatch) -> None:
    latch.trip("x", "y", 1)
    assert [path.name for path in latch.path.parent.iterdir()] == ["KILL"]
    assert latch.path.stat().st_mode & 0o777 == 0o600


def test_first_cause_is_kept(latch: KillLatch) -> None:
    latch.trip("daily loss", "system", 1)
    assert latch.trip("F12", "human:trader", 2)
    assert latch.read().reason == "daily loss"


def test_unreadable_latch_gets_a_readable_cause_on_the_next_trip(latch: KillLatch) -> None:
    latch.path.touch()
    latch.trip("F12", "human:trader", 2)
    assert latch.read().reason == "F12"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"halt please",
        b"{}",
        b'{"reason": 1, "actor": "a", "since_ns": 1}',
        b'{"reason": "r", "actor": "a", "since_ns": 9000000000000000000000}',
        b'{"reason": "r", "actor": "a", "since_ns": -99999999999999999999}',
        b'{"reason": "\\ud800", "actor": "a", "since_ns": 1}',
        b"[" * 70_000,
    ],
)
def test_garbage_means_halted(latch: KillLatch, body: bytes) -> None:
    latch.path.write_bytes(body)
    assert latch.read().is_halted
    assert "KILL" in latch.read().reason


@given(body=st.binary(max_size=200))
def test_any_bytes_mean_halted(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    latch = KillLatch(tmp_path_factory.getbasetemp())
    latch.path.write_bytes(body)
    assert latch.read().is_halted
    latch.path.unlink()


def test_directory_and_dangling_link_mean_halted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    directory, link = KillLatch(tmp_path / "a"), KillLatch(tmp_path)
    directory.path.mkdir()
    link.path.symlink_to(tmp_path / "nowhere")
    assert directory.read().is_halted
    assert link.read().is_halted


def test_state_directory_that_is_a_file_means_halted(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert KillLatch(tmp_path / "state").read().is_halted


def test_trip_that_cannot_write_says_so_and_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert KillLatch(tmp_path / "state").trip("r", "a", 1) is False
    assert KillLatch(tmp_path / "nowhere").trip("r", "a", 1) is False


@given(reason=st.text(), actor=st.text())
def test_any_text_trips_and_reads_back_printable(
    tmp_path_factory: pytest.TempPathFactory, reason: str, actor: str
) -> None:
    latch = KillLatch(tmp_path_factory.getbasetemp())
    latch.path.unlink(missing_ok=True)
    assert latch.trip(reason, actor, 3)
    seen = latch.read()
    assert seen.since_ns == 3
    assert all(character.isprintable() for character in seen.reason + seen.actor)
    assert len(seen.reason) <= REASON_CHARS_MAX
    if reason.isprintable() and len(reason) <= REASON_CHARS_MAX:
        assert seen.reason == reason


def test_control_characters_written_by_another_do_not_reach_the_terminal(latch: KillLatch) -> None:
    latch.path.write_bytes(b'{"reason": "a\\u001b[2Jb", "actor": "c", "since_ns": 1}')
    assert latch.read().reason == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_rearm_opens_and_twice_is_harmless(latch: KillLatch) -> None:
    latch.trip("r", "a", 1)
    latch.rearm()
    latch.rearm()
    assert not latch.read().is_halted


def test_rearm_that_cannot_remove_raises(latch: KillLatch) -> None:
    latch.path.mkdir()
    with pytest.raises(OSError, match="KILL"):
        latch.rearm()


def test_request_is_for_the_next_engine_and_goes_with_the_latch(latch: KillLatch) -> None:
    latch.trip("r", "a", 1)
    latch.request_rearm("checked", "human:trader", 9)
    request = latch.rearm_request()
    assert request is not None
    assert (request.reason, request.actor, request.ts_ns) == ("checked", "human:trader", 9)
    assert latch.read().is_halted, "only the engine opens the latch"
    latch.rearm()
    assert list(latch.path.parent.iterdir()) == []


def test_request_does_not_undo_a_later_kill(latch: KillLatch) -> None:
    latch.trip("r", "a", 1)
    latch.request_rearm("checked", "human:trader", 9)
    latch.trip("again", "a", 10)
    assert latch.rearm_request() is None
    assert latch.read().reason == "again"
    assert [path.name for path in latch.path.parent.iterdir()] == ["KILL"]


def test_request_put_back_from_an_older_latch_is_ignored(latch: KillLatch) -> None:
    latch.trip("r", "a", 1)
    latch.request_rearm("checked", "human:trader", 9)
    request = latch.path.parent / "REARM.json"
    old = request.read_bytes()
    latch.rearm()
    latch.trip("again", "a", 10)
    request.write_bytes(old)
    assert latch.rearm_request() is None


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"reason": " "}'])
def test_garbage_request_is_none(latch: KillLatch, body: bytes) -> None:
    latch.trip("r", "a", 1)
    (latch.path.parent / "REARM.json").write_bytes(body)
    assert latch.rearm_request() is None


def test_request_without_a_latch_or_without_room_fails(tmp_path: Path) -> None:
    latch = KillLatch(tmp_path)
    with pytest.raises(Failed, match="nothing to re-arm"):
        latch.request_rearm("r", "a", 1)
    latch.trip("r", "a", 1)
    (tmp_path / "REARM.json").mkdir()
    with pytest.raises(Failed, match=r"REARM\.json cannot be written"):
        latch.request_rearm("r", "a", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["KILL", "REARM.json"]


@pytest.mark.slow
def test_latch_survives_sigkill(latch: KillLatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIP_AND_DIE, str(latch.path.parent)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert latch.read().reason == "prices look wrong"


@pytest.mark.slow
def test_latch_without_room_for_its_text_is_an_empty_file(latch: KillLatch) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = subprocess.run(
        [sys.executable, "-B", "-c", TRIP_WITHOUT_ROOM, str(latch.path.parent)],
        check=True,
        preexec_fn=no_room,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert done.stdout == b"True\n"
    assert latch.path.read_bytes() == b""
    assert latch.read().is_halted
    assert [path.name for path in latch.path.parent.iterdir()] == ["KILL"]


@pytest.mark.slow
def test_kill_path_loads_nothing_that_trades_or_draws() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], check=True, capture_output=True, timeout=60
    )
    loaded = set(done.stdout.decode().split())
    ours = {name for name in loaded if name.partition(".")[0] in {"core", "ledger", "tui", "cli"}}
    assert ours == {"core", "core.clock", "core.errors", "core.latch", "core.scopes"}
    assert not loaded & {"numpy", "numba", "textual", "sqlite3", "asyncio"}


# --- scopes -------------------------------------------------------------------------------------


def test_scopes_are_latched_apart_and_found_together(latch: KillLatch, tmp_path: Path) -> None:
    other = latch.of("instrument:BTC/USD")
    assert other.trip("odd prints", "human:trader", 5, flattens=True)
    assert not latch.read().is_halted
    assert not latch.of("instrument:ETH/USD").read().is_halted
    assert latched_scopes(tmp_path) == {
        "instrument:BTC/USD": LatchState(True, "odd prints", "human:trader", 5, flattens=True)
    }
    latch.of("strategy").trip("out of its depth", "a", 6)
    latch.trip("F12", "a", 7)
    assert list(latched_scopes(tmp_path)) == ["all", "instrument:BTC/USD", "strategy"]
    other.rearm()
    assert list(latched_scopes(tmp_path)) == ["all", "strategy"]


def test_the_folder_of_halts_is_private_and_made_when_needed(
    latch: KillLatch, tmp_path: Path
) -> None:
    assert latched_scopes(tmp_path) == {}
    latch.of("strategy").trip("x", "y", 1)
    assert (tmp_path / "halts").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "halts").iterdir()] == ["strategy"]


def test_a_halt_that_cannot_be_read_still_halts_its_scope(tmp_path: Path, latch: KillLatch) -> None:
    latch.of("strategy").trip("x", "y", 1)
    (tmp_path / "halts" / "strategy").write_bytes(b"\xff")
    (state,) = latched_scopes(tmp_path).values()
    assert state.is_halted
    assert state.since_ns is None


@pytest.mark.parametrize("name", ["DOGE", "instrument-", "strategy-2", "all"])
def test_a_file_among_the_halts_that_says_no_scope_halts_everything(
    tmp_path: Path, latch: KillLatch, name: str
) -> None:
    latch.of("strategy").trip("x", "y", 1)
    (tmp_path / "halts" / name).touch()
    found = latched_scopes(tmp_path)
    assert name in found["all"].reason
    assert "strategy" in found


def test_what_a_crash_left_half_written_halts_nothing(tmp_path: Path, latch: KillLatch) -> None:
    latch.of("strategy").trip("x", "y", 1)
    latch.of("strategy").rearm()
    (tmp_path / "halts" / "strategy.123.tmp").touch()
    assert latched_scopes(tmp_path) == {}


def test_a_file_where_the_folder_of_halts_should_be_halts_everything(
    tmp_path: Path, latch: KillLatch
) -> None:
    (tmp_path / "halts").touch()
    assert latched_scopes(tmp_path)["all"].is_halted
    assert not latch.of("strategy").trip("x", "y", 1)


def test_a_scope_is_asked_to_be_rearmed_apart(latch: KillLatch) -> None:
    strategy = latch.of("strategy")
    strategy.trip("x", "y", 1)
    strategy.request_rearm("looked", "human:trader", 2)
    assert strategy.rearm_request() is not None
    assert latch.rearm_request() is None
    strategy.trip("again", "y", 3)
    assert strategy.rearm_request() is None, "a later kill is not undone"


def test_a_kill_that_closes_positions_adds_that_to_the_first_cause(latch: KillLatch) -> None:
    latch.trip("no ledger", "system", 1)
    assert not latch.read().flattens
    latch.trip("F12", "human:trader", 2, flattens=True)
    assert latch.read() == LatchState(True, "no ledger", "system", 1, flattens=True)
    latch.trip("no ledger", "system", 3)
    assert latch.read().flattens, "nothing takes it back but a re-arm"


def test_the_latch_of_an_older_version_closes_nothing_by_itself(latch: KillLatch) -> None:
    latch.path.write_text('{"reason": "F12", "actor": "human:trader", "since_ns": 5}')
    assert latch.read() == LatchState(True, "F12", "human:trader", 5)


def test_is_set_sees_a_name_whatever_it_is(latch: KillLatch) -> None:
    assert not latch.is_set()
    latch.path.symlink_to("nowhere")
    assert latch.is_set()

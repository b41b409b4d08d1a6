"""What the watchdog does by itself must be what the engine's own code would read and write."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import msgspec

from core import control
from core.clock import ManualClock
from core.latch import LATCH_NAME, KillLatch
from core.state import StateDir
from core.watchdog import acts
from core.watchdog.acts import Voice, ask_to_kill, forget_report, latch, take_report
from tests.core.sample import NOON_NS


def test_its_latch_is_read_by_the_engine_with_reason_actor_time_and_flatten(tmp_path: Path) -> None:
    assert latch(tmp_path, 'loop "blocked"', NOON_NS) == "the latch KILL is written"
    state = KillLatch(tmp_path).read()
    assert (state.reason, state.actor, state.since_ns) == ('loop "blocked"', "watchdog", NOON_NS)
    assert state.flattens


def test_names_and_command_are_those_of_the_engine() -> None:
    assert acts.LATCH_NAME == LATCH_NAME
    assert acts.SOCKET_NAME == control.SOCKET_NAME
    body = msgspec.msgpack.encode({"c": "kill", "reason": "r", "actor": acts.ACTOR})
    assert control.command_decoder.decode(body) == control.KillAll("r", acts.ACTOR)


def test_a_latch_that_is_there_is_kept(tmp_path: Path) -> None:
    KillLatch(tmp_path).trip("F12", "human:trader", 5)
    assert "already" in latch(tmp_path, "stall", 9)
    assert KillLatch(tmp_path).read().reason == "F12"


def test_a_latch_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    assert "could NOT be written" in latch(tmp_path / "missing", "stall", 9)


class Engine:
    """Answers one connection with bytes of the test's choice, or not at all."""

    def __init__(self, folder: Path, reply: bytes | None) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(folder / acts.SOCKET_NAME))
        self.listener.listen()
        self.seen: object = None
        self.reply = reply
        self.thread = threading.Thread(target=self.serve)
        if reply is not None:
            self.thread.start()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            size = int.from_bytes(connection.recv(4), "big")
            self.seen = control.command_decoder.decode(connection.recv(size))
            assert self.reply is not None
            connection.sendall(self.reply)

    def close(self) -> None:
        if self.reply is not None:
            self.thread.join()
        self.listener.close()


def test_it_asks_over_the_control_socket_and_reads_the_answer(tmp_path: Path) -> None:
    engine = Engine(tmp_path, control.frame(control.Ack(ok=True, text="KILLED")))
    assert ask_to_kill(tmp_path, "stall", 5.0) == (True, "KILLED")
    engine.close()
    assert engine.seen == control.KillAll("stall", "watchdog")


def test_a_refusal_and_an_answer_that_cannot_be_read_are_no_kill(tmp_path: Path) -> None:
    for reply in (
        control.frame(control.Ack(ok=False, text="no")),
        b"\0\0\0\1\xc1",
        b"\0\0\0\1\x05",
    ):
        engine = Engine(tmp_path, reply)
        assert not ask_to_kill(tmp_path, "stall", 5.0)[0]
        engine.close()
        (tmp_path / acts.SOCKET_NAME).unlink()


def test_an_engine_that_hangs_up_or_does_not_answer_or_is_not_there_is_no_kill(
    tmp_path: Path,
) -> None:
    assert not ask_to_kill(tmp_path, "stall", 0.05)[0]
    engine = Engine(tmp_path, b"")
    assert not ask_to_kill(tmp_path, "stall", 5.0)[0]
    engine.close()
    (tmp_path / acts.SOCKET_NAME).unlink()
    silent = Engine(tmp_path, None)
    is_done, words = ask_to_kill(tmp_path, "stall", 0.05)
    silent.close()
    assert not is_done
    assert "no answer" in words


def test_reports_are_in_the_log_and_wait_for_the_next_start(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s").create()
    clock = ManualClock(NOON_NS)
    voice = Voice(state.path, clock)
    voice.say("watching")
    voice.report("triggered")
    Voice(state.path, clock).report("sent SIGKILL \x1b[2J")
    log = (state.logs / "watchdog.log").read_text("utf-8").splitlines()
    assert [line.split(" ", 1)[1][:9] for line in log] == ["watching", "triggered", "sent SIGK"]
    report = take_report(state.path)
    assert [line.split(" ", 1)[1] for line in report] == ["triggered", "sent SIGKILL �[2J"]
    assert report[0].startswith("2026-01-01T12:00:00")
    forget_report(state.path)
    assert take_report(state.path) == ()
    forget_report(state.path)


def test_a_report_longer_than_its_room_is_cut_and_the_log_goes_on(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s").create()
    voice = Voice(state.path, ManualClock(NOON_NS))
    for _ in range(40):
        voice.report("x" * 1000)
    assert (state.path / acts.REPORT_NAME).stat().st_size == acts.REPORT_BYTES
    assert len(take_report(state.path)) == 15
    assert len((state.logs / "watchdog.log").read_text("utf-8").splitlines()) == 40


def test_telling_never_keeps_from_doing(tmp_path: Path) -> None:
    voice = Voice(tmp_path / "missing", ManualClock(NOON_NS))
    voice.report("nobody hears this")


def test_the_log_is_bounded(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s").create()
    log = state.logs / "watchdog.log"
    log.touch()
    os.truncate(log, acts.LOG_BYTES_MAX + 1)
    Voice(state.path, ManualClock(NOON_NS)).say("on")
    assert log.stat().st_size < 100
    assert (state.logs / "watchdog.1.log").exists()

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from core.control import (
    MAX_MESSAGE,
    SOCKET_NAME,
    Ack,
    AnyCommand,
    CancelOrder,
    CloseTrade,
    Compare,
    Confirm,
    FlattenAll,
    GetSnapshot,
    Kill,
    KillAll,
    MoveCoins,
    Picture,
    Rearm,
    ReducePosition,
    Reject,
    ResolveDifference,
    ReversePosition,
    SetExit,
    SetMode,
    Stop,
    command_decoder,
    frame,
    reply_decoder,
    request,
)
from core.errors import TryAgain
from core.model.decision import Mode
from core.model.difference import Remedy
from core.model.exits import ExitKind
from core.model.transfer import TransferWay
from tests.core.sample import SNAPSHOT

ALL = [
    GetSnapshot(is_screen=True),
    Confirm(decision_id="d"),
    Reject(decision_id="d", reason="no"),
    CloseTrade(instrument="SIM-USD"),
    ReducePosition(instrument="SIM-USD", seen_lots=4),
    ReversePosition(instrument="SIM-USD"),
    SetExit(instrument="SIM-USD", kind=ExitKind.STOP, value="even"),
    FlattenAll(),
    CancelOrder(client_order_id="o"),
    KillAll(reason="r", actor="a"),
    Kill(scope="strategy", reason="r"),
    Rearm(reason="r", scope="strategy"),
    Compare(),
    ResolveDifference(key="o", remedy=Remedy.KEEP, reason="r"),
    MoveCoins("SIM-USD", TransferWay.IN, "0.5", "cold", "40.2", 1, "0.01", "1", "n"),
    SetMode(mode=Mode.AUTO),
    Stop(),
]


def test_examples_cover_every_command() -> None:
    assert {type(command) for command in ALL} == set(get_args(AnyCommand))


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_command_survives_the_wire(command: AnyCommand) -> None:
    wire = frame(command)
    assert int.from_bytes(wire[:4], "big") == len(wire) - 4
    assert command_decoder.decode(wire[4:]) == command


def test_replies_survive_the_wire() -> None:
    for reply in (Ack(ok=False, text="why"), Picture(snapshot=SNAPSHOT)):
        assert reply_decoder.decode(frame(reply)[4:]) == reply


@contextlib.contextmanager
def engine(folder: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Answer one connection with ``answer`` and close it."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET_NAME))
        listener.listen()
        listener.settimeout(10)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield received
        thread.join()


def test_request_gives_the_reply(tmp_path: Path) -> None:
    with engine(tmp_path, frame(Picture(snapshot=SNAPSHOT))) as received:
        assert request(tmp_path, GetSnapshot()) == Picture(snapshot=SNAPSHOT)
    assert received == [frame(GetSnapshot())]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed the connection"),
        (frame(Ack(ok=True, text="x" * 50))[:-1], "closed the connection"),
        (b"\x00\x00\x00\x01\xc1", "another version"),
        (b"\x00\x00\x00\x00", "another version"),
        ((MAX_MESSAGE + 1).to_bytes(4, "big") + b"x", "closed the connection"),
    ],
)
def test_engine_that_answers_badly_means_try_again(
    tmp_path: Path, answer: bytes, said: str
) -> None:
    with engine(tmp_path, answer), pytest.raises(TryAgain, match=said):
        request(tmp_path, Stop())


def test_no_engine_means_try_again(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="no engine answers"):
        request(tmp_path, Stop())
    with pytest.raises(TryAgain, match="no engine answers"):
        request(tmp_path / ("x" * 200), Stop())


def test_dead_engines_socket_means_try_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_NAME))
    with pytest.raises(TryAgain, match="no engine answers"):
        request(tmp_path, Stop())


def test_engine_that_never_answers_means_try_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen()
        with pytest.raises(TryAgain, match="timed out"):
            request(tmp_path, Stop(), timeout_s=0.01)

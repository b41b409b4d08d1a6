"""A real control server with a scripted engine behind it, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.control import SOCKET_NAME, Ack, AnyCommand, GetSnapshot, Picture, Reply
from core.latch import KillLatch
from core.server import ControlServer
from core.state import EngineLock, StateDir
from tests.core.sample import NOON_NS, SNAPSHOT


class FakeEngine:
    """Answers with ``answers`` by command type, else with the command's name."""

    def __init__(self) -> None:
        self.seen: list[AnyCommand] = []
        self.answers: dict[type, Reply] = {GetSnapshot: Picture(snapshot=SNAPSHOT)}

    def handle(self, command: AnyCommand) -> Reply:
        self.seen.append(command)
        return self.answers.get(type(command), Ack(ok=True, text=f"did {type(command).__name__}"))


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state").create()


@pytest.fixture
def latch(state: StateDir) -> KillLatch:
    return KillLatch(state.path)


@pytest.fixture
def held(state: StateDir) -> Iterator[EngineLock]:
    """The engine lock, held as by an engine that does not answer."""
    with EngineLock(state, venue="sim", command="run", started_ns=NOON_NS) as lock:
        yield lock


@pytest.fixture
def engine(state: StateDir, held: EngineLock) -> Iterator[FakeEngine]:
    del held
    engine = FakeEngine()
    started = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with ControlServer(state.path / SOCKET_NAME, engine.handle):
            stop.append(lambda: loop.call_soon_threadsafe(ended.set))
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(10)
    yield engine
    stop[0]()
    thread.join()

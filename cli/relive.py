"""Lives a recorded run through again, from what entered it: market data and the trader's words.

The engine is the one that trades, wired as it was; only the ledger's writer is another, which
compares (``ledger.replay``). Nothing here writes into the ledger or the state directory.
"""

from __future__ import annotations

import asyncio
import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from typing_extensions import override

from cli.replay import replay_rig
from cli.rig import Rig
from cli.run_sim import begin_past, end_past, past_of, sim_rig
from cli.wiring import RunPlan, wire
from core.brokers.paper import PaperBroker
from core.clock import ManualClock
from core.commands import Commands
from core.config import Settings
from core.control import AnyCommand
from core.errors import CaptureError, UserError
from core.feeds.capture import CaptureReader, Record, read_capture
from core.feeds.joined import Joined
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.replaying import Played, Player, without_last_close
from core.live import run_sim_until
from core.model.event import InputTaken
from core.model.instrument import Instrument
from core.session import Session
from core.sim.venue import SimVenue
from core.state import StateDir
from ledger.recorded import RecordedRun
from ledger.references import instruments_of
from ledger.replay import ReplaySink
from ledger.rows import load_history

_command = msgspec.json.Decoder(AnyCommand)


class Ending(NamedTuple):
    """How far a replay came."""

    sink: ReplaySink
    notes: list[str]
    """What could not be given again, and why."""


def relive(state_dir: Path, run: RecordedRun, settings: Settings, captures: list[Path]) -> Ending:
    """Give the run what it was given and return what it said now.

    ``captures`` are its recordings in order; the simulated market needs none, for its seed makes
    it again. Errors: ``UserError``, ``Failed`` for an agent or a recording that cannot be opened.
    """
    sink = ReplaySink(run)
    history = load_history(state_dir, before_seq=run.start_seq)
    with tempfile.TemporaryDirectory(prefix="tapewright-replay-") as folder:
        state = StateDir(Path(folder))
        plan = RunPlan(
            state=state,
            settings=settings,
            mode=run.started.mode,
            seed=run.started.seed,
            source=run.started.source,
            source_name="replay for a receipt",
            models=StateDir(state_dir).models,
        )
        feeding: _Feeding
        if run.started.source == "sim":
            rig, venue = sim_rig(plan, sink, history, run.start_ns, recorded=run.started)
            feeding = _SimFeeding(run, rig, venue)
        elif run.started.source == "live":
            protocol = _live_protocol(run, settings)
            broker = PaperBroker(protocol.instruments, settings)
            rig = wire(
                plan, protocol, broker, sink, history, run.start_ns, run.start_ns,
                recorded=run.started,
            )  # fmt: skip
            feeding = _CaptureFeeding(run, rig, [read_capture(path) for path in captures])
        else:
            reader = read_capture(captures[0])
            rig = replay_rig(plan, reader, sink, history, run.start_ns, run.started)
            feeding = _CaptureFeeding(run, rig, [reader])
        feeding.feed()
    return Ending(sink, feeding.notes)


def _live_protocol(run: RecordedRun, settings: Settings) -> FeedProtocol:
    by_venue: dict[str, list[Instrument]] = {}
    for instrument in instruments_of(run.started).values():
        by_venue.setdefault(instrument.venue, []).append(instrument)
    parts = [protocol_for(venue, of_it, settings) for venue, of_it in by_venue.items()]
    return parts[0] if len(parts) == 1 else Joined(parts)


def _ignore(reason: str) -> None:
    """A recorded wish to stop: the run ends where its inputs do."""


class _Feeding:
    """Gives a run its inputs at the places where it had them."""

    def __init__(self, run: RecordedRun, rig: Rig) -> None:
        self.notes: list[str] = []
        self._run, self._rig, self._session = run, rig, rig.session
        self._clock = ManualClock(run.start_ns)
        self._commands = Commands(rig.session, rig.facts, self._clock, rig.writer.head, _ignore)
        if run.started.source in {"sim", "live"}:
            # Orders wait for ``sent``, as they waited for the disk.
            rig.session.wake = asyncio.Event()
        if run.started.source == "live":
            rig.session.clock = self._clock

    def feed(self) -> None:
        """Give everything."""
        try:
            for entered in self._run.inputs:
                self._go_to(entered)
                self._give(entered)
            self._go_to_end()
        except CaptureError as error:
            self.notes.append(f"the recording cannot be read on: {error}")
        self._end()

    def _go_to(self, entered: InputTaken) -> None:
        raise NotImplementedError

    def _go_to_end(self) -> None:
        raise NotImplementedError

    def _give(self, entered: InputTaken) -> None:
        session = self._session
        self._clock.move_to(entered.brought_ns)
        match entered.kind:
            case "command":
                self._commands.carry_out(_command.decode(entered.text))
            case "sent":
                session.send_next()
            case "time":
                session.on_time(entered.brought_ns)
            case "http_failed":
                url, reason = msgspec.json.decode(entered.text)
                session.on_http_failed(url, reason, entered.brought_ns)
            case "screen_lost":
                self._commands.on_screen_lost()
            case "watchdog":
                session.set_unguarded(entered.text)
            case "stop":
                pass  # the end of the run, see ``_end``
            case _:
                self.notes.append(f"an input of kind {entered.kind!r:.40} cannot be given again")

    def _end(self) -> None:
        """Do what the process did when it was asked to stop, or when the feed had ended."""
        ended = self._run.ended
        if ended is None:
            return
        if not ended.reason.startswith("failed: "):
            session = self._session
            why = f"the engine stops: {ended.reason}"
            session.engine.execution.cancel_orders("system", why)
            session.send_cancels()
        self._session.engine.points.flush()


class _SimFeeding(_Feeding):
    """The simulated market makes itself again."""

    def __init__(self, run: RecordedRun, rig: Rig, venue: SimVenue) -> None:
        super().__init__(run, rig)
        self._venue = venue
        begin_past(rig.session, venue, past_of(rig.session.engine.settings, run.start_ns))

    @override
    def _go_to(self, entered: InputTaken) -> None:
        if entered.brought_ns:
            run_sim_until(self._session, self._venue, entered.brought_ns)

    @override
    def _give(self, entered: InputTaken) -> None:
        if entered.kind == "past_over":
            end_past(self._session, self._venue, entered.brought_ns)
        else:
            super()._give(entered)

    @override
    def _go_to_end(self) -> None:
        if self._run.ended is None:
            run_sim_until(self._session, self._venue, self._run.end_ns)


class _CaptureFeeding(_Feeding):
    """The records of one or several recordings, in the order in which they were received."""

    def __init__(self, run: RecordedRun, rig: Rig, readers: list[CaptureReader]) -> None:
        super().__init__(run, rig)
        metas = {reader.meta.venue: reader.meta for reader in readers}
        settings = rig.session.engine.settings
        faces = _faces(rig.session)
        self.notes += [
            f"no recording of {venue} is given: what it sent is missing in this replay"
            for venue in sorted(faces.keys() - metas.keys())
        ]
        faces = {venue: face for venue, face in faces.items() if venue in metas}
        self._players = {
            venue: Player(face, metas[venue], settings) for venue, face in faces.items()
        }
        # A live run lived through every close that its recording tells, also the last one: a venue
        # may be away as the run ends. Whoever replays a file leaves a last close out.
        as_lived = iter if run.started.source == "live" else without_last_close
        self._records = heapq.merge(
            *(_of_venue(venue, readers, as_lived) for venue in self._players),
            key=lambda pair: pair[1].ns,
        )
        self._next: tuple[str, Record] | None = next(self._records, None)

    @override
    def _go_to(self, entered: InputTaken) -> None:
        session = self._session
        while self._next is not None:
            record = self._next[1]
            is_there = session.counters.frames >= entered.frames
            if is_there and (record.kind == "recv" or record.ns > entered.brought_ns):
                break
            self._give_record()
        if entered.brought_ns:
            session.run_timers(entered.brought_ns)

    @override
    def _give(self, entered: InputTaken) -> None:
        if entered.kind != "handover":
            super()._give(entered)
            return
        # The recording tells the story of the new connection as of this very instant.
        while self._next is not None and self._next[1].ns <= entered.brought_ns:
            self._give_record()
        self._finish()

    @override
    def _go_to_end(self) -> None:
        while self._next is not None:
            self._give_record()
        self._finish()

    def _finish(self) -> None:
        for player in self._players.values():
            player.finish()

    def _give_record(self) -> None:
        assert self._next is not None
        venue, record = self._next
        self._players[venue].give(record)
        self._next = next(self._records, None)


def _faces(session: Session) -> dict[str, Played]:
    """Return who takes the records of each venue."""
    if not isinstance(session.inner, Joined):
        return {session.venue: session}
    for part in session.inner.parts:
        part.wear(session)
    return {part.venue: part for part in session.inner.parts}


def _of_venue(
    venue: str,
    readers: list[CaptureReader],
    as_lived: Callable[[Iterator[Record]], Iterable[Record]],
) -> Iterator[tuple[str, Record]]:
    """Yield the records of one venue's files, one after the other."""

    def records() -> Iterator[Record]:
        for reader in readers:
            if reader.meta.venue == venue:
                yield from reader

    return ((venue, record) for record in as_lived(records()))


def captures_of(state_dir: Path, run: RecordedRun, given: list[Path]) -> list[Path]:
    """Return the recordings that a run needs, in order.

    Errors: ``UserError`` saying which is missing and where it is looked for.
    """
    from ledger.manifest import noted_input_file

    if run.started.source == "sim" or given:
        return given
    if run.started.source != "live":
        noted = noted_input_file(state_dir, run.started.run_id)
        if noted is None or not noted.is_file():
            where = f"it was at {noted}" if noted else "nothing says where it was"
            raise UserError(
                f"the capture of this run ({run.started.source}) is not there: {where}; "
                "name it with --capture FILE"
            )
        return [noted]
    paths = [StateDir(state_dir).captures / file.name for file in run.files]
    if not paths:
        raise UserError(
            "this live run left no recording in the ledger (recording was off, or the process was "
            "killed): name its files with --capture FILE, oldest first"
        )
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is not there (removed, or moved): name all with --capture")
    return paths

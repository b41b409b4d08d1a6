"""The composition root: which feed, broker, ledger and policy one engine is made of.

The only place that knows all packages. What it builds is closed by ``Rig.close``.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from importlib import metadata
from pathlib import Path

import msgspec

from core.clock import iso_ns
from core.config import Settings
from core.engine import Engine, EngineSetup
from core.feeds.capture import CaptureMeta
from core.feeds.protocol import FeedProtocol
from core.feeds.recorder import CaptureWriter
from core.latch import KillLatch
from core.model import event as ev
from core.model.decision import Mode
from core.model.instrument import Instrument, plain
from core.picture import RunFacts
from core.ports import Broker, Policy
from core.recordings import Recordings
from core.session import Session
from core.state import StateDir
from core.tape.writer import TapeWriter
from ledger.rows import History, load_history
from ledger.writer import LedgerWriter

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "agents", "ledger", "tui", "cli")


class RunPlan(msgspec.Struct, frozen=True):
    """What a run is meant to be, before anything is opened."""

    state: StateDir
    settings: Settings
    mode: Mode
    seed: int
    source: str
    """``live``, ``sim`` or ``sha256:...`` of the capture."""
    source_name: str
    """The same for people, such as ``replay btc.jsonl.gz``."""
    models: Path | None = None
    """Where the user's agents are; None: in ``state``."""


class Rig(msgspec.Struct):
    """A wired engine and what must be closed after it."""

    session: Session
    writer: LedgerWriter
    facts: RunFacts
    run_id: str
    recordings: Recordings | None = None

    def keep_recordings(self, now_ns: int) -> None:
        """Let tape and capture write what waits and keep their bounds; tell what went."""
        if self.recordings is None:
            return
        context = self.session.engine.context
        for removed in self.recordings.on_time(now_ns):
            context.journal(removed)
            context.notify(
                "info",
                f"{len(removed.names)} {removed.kind} file(s) removed, the oldest, to keep "
                f"[storage] {removed.kind}s_max_mib",
            )

    def trouble(self) -> str:
        """Return why tape or recording has ended before the run, or nothing."""
        return "" if self.recordings is None else self.recordings.trouble()

    def close(self, reason: str, wall_ns: int) -> None:
        """Write the end of the run, make all durable, close the files."""
        counters = self.session.counters
        ended = ev.RunEnded(
            run_id=self.run_id,
            reason=reason,
            counters={
                "frames": counters.frames,
                "refused": counters.refused,
                "gaps": counters.gaps,
                "resyncs": counters.resyncs,
            },
        )
        try:
            self.session.engine.context.journal(ended)
            self.writer.end_run(self.run_id, wall_ns)
        finally:
            self.writer.close()
            if self.recordings is not None:
                self.recordings.close()


def version() -> str:
    """Return the program's version."""
    return metadata.version("tapewright")


def code_digest() -> str:
    """Return the sha256 over every source file of the program, in hex."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def fee_bps(settings: Settings, venue: str) -> Decimal:
    """Return the taker fee of ``venue`` in basis points, exact."""
    paper = settings.paper
    table = {
        "sim": paper.sim_fee_bps,
        "binance": paper.binance_fee_bps,
        "coinbase": paper.coinbase_fee_bps,
        "coinbase-exchange": paper.coinbase_fee_bps,
        "alpaca": paper.alpaca_fee_bps,
    }
    return Decimal(str(table[venue]))


def fees_by_venue(settings: Settings, instruments: list[Instrument]) -> dict[str, Decimal]:
    """Return the taker fee in basis points of every venue that the instruments are of."""
    return {each.venue: fee_bps(settings, each.venue) for each in instruments}


def load_policy(plan: RunPlan) -> tuple[Policy | None, dict[str, str], str]:
    """Return the policy, its digests for the manifest and a note for the screen.

    Errors: ``UserError`` for an agent that is not known or was refused.
    """
    agent = plan.settings.agent
    if not agent.enabled:
        return None, {}, "switched off: [agent] enabled = false"
    from agents.registry import open_policy

    policy = open_policy(agent.id, plan.models or plan.state.models)
    return policy, policy.digests, policy.note


def wire(plan: RunPlan, protocol: FeedProtocol, broker: Broker, writer: LedgerWriter,
         history: History, start_ns: int, wall_ns: int,
         recordings: Recordings | None = None) -> Rig:  # fmt: skip
    """Build the engine, write the start of the run and what was recovered.

    ``start_ns`` is engine time (the tape's in replay); ``wall_ns`` stays outside the hash.
    """
    instruments = [feed.instrument for feed in protocol.instruments]
    fees = fees_by_venue(plan.settings, instruments)
    policy, digests, note = load_policy(plan)
    started = _manifest(plan, protocol.venue, instruments, broker.name, digests, writer)
    latch = KillLatch(plan.state.path)
    halt = latch.read()
    setup = EngineSetup(
        protocol=protocol,
        settings=plan.settings,
        mode=plan.mode,
        sink=writer,
        latch=latch,
        run_id=started.run_id,
        fee_bps=fees[instruments[0].venue],
        fees_by_venue=fees,
        policy=policy,
        fills=tuple(history.fills_of(instruments)),
        halted=(halt.reason or "halted") if halt.is_halted else "",
    )
    engine = Engine(setup)
    # Engine time may begin in a past that is lived through; the ledger's begins now.
    engine.context.floor_ns = wall_ns if plan.source == "sim" else start_ns
    engine.context.move_to(start_ns)
    engine.context.write(started)
    writer.begin_run(started.run_id, wall_ns)
    _recover(engine, history)
    _apply_rearm_request(engine, latch)
    facts = RunFacts(
        account="SIM" if protocol.venue == "sim" else "PAPER",
        source=plan.source_name,
        version=version(),
        started_ns=wall_ns,
        agent_note=note,
    )
    session = Session(engine, broker, writer, None if recordings is None else recordings.tape)
    session.recordings = recordings
    return Rig(session, writer, facts, started.run_id, recordings)


def _manifest(
    plan: RunPlan,
    venue: str,
    instruments: list[Instrument],
    broker: str,
    agent: dict[str, str],
    writer: LedgerWriter,
) -> ev.RunStarted:
    settings = plan.settings
    started = ev.RunStarted(
        run_id="",
        program_version=version(),
        code_digest=code_digest(),
        config_digest=settings.digest(),
        limits_digest=settings.limits_digest(),
        venue=venue,
        instruments=tuple(
            _instrument_row(each) | ({} if each.venue == venue else {"venue": each.venue})
            for each in instruments
        ),
        mode=plan.mode,
        broker=broker,
        seed=plan.seed,
        source=plan.source,
        agent=agent,
        settings=msgspec.to_builtins(settings, str_keys=True),
    )
    head = writer.head()
    basis = msgspec.json.encode([head[0], head[1], started], order="sorted")
    return msgspec.structs.replace(started, run_id=hashlib.sha256(basis).hexdigest()[:32])


def _instrument_row(instrument: Instrument) -> dict[str, str]:
    return {
        "name": instrument.name,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick_size": plain(instrument.tick_size),
        "lot_size": plain(instrument.lot_size),
    }


def _recover(engine: Engine, history: History) -> None:
    """Journal what the last process left: a paper venue forgets its orders with its process."""
    positions = {
        name: book.position_lots
        for name, book in engine.account.books.items()
        if book.position_lots
    }
    if not positions and not history.open_orders:
        return
    note = "orders of the paper venue died with its process" if history.open_orders else ""
    engine.context.write(
        ev.Recovered(orders_closed=tuple(history.open_orders), positions=positions, note=note)
    )
    engine.context.notify("info", f"recovered {len(positions)} positions from the ledger")


def _apply_rearm_request(engine: Engine, latch: KillLatch) -> None:
    request = latch.rearm_request()
    if request is not None and engine.context.halted:
        try:
            engine.rearm(request.actor, request.reason)
        except ValueError as error:
            engine.context.notify("error", f"not re-armed: {error}")
    elif engine.context.halted:
        held = [name for name, book in engine.account.books.items() if book.position_lots]
        left = f"; still open: {', '.join(held)} (k closes it)" if held else ""
        text = f"HALTED since before this start: {engine.context.halted}{left}"
        engine.context.notify("error", text)


def open_ledger(state: StateDir) -> tuple[LedgerWriter, History]:
    """Open the ledger for writing, verified, and read what trading needs from it."""
    writer = LedgerWriter(state.path)
    return writer, load_history(state.path)


def make_recordings(
    settings: Settings, state: StateDir, instruments: list[Instrument], now_ns: int
) -> Recordings:
    """Open tape and capture of this run; no capture where recording is off.

    Errors: ``TapeError`` or ``CaptureError`` where one cannot be made.
    """
    venues = list(dict.fromkeys(each.venue for each in instruments))
    tape = TapeWriter(state.tapes, instruments, run_id=f"{'+'.join(venues)}-{_stamp(now_ns)}")
    captures: dict[str, CaptureWriter] = {}
    if settings.feed.record:
        for venue in venues:
            of_venue = tuple(each for each in instruments if each.venue == venue)
            captures[venue] = _make_capture(settings, state, of_venue, now_ns)
    return Recordings(state, settings.storage, tape, captures)


def _make_capture(
    settings: Settings, state: StateDir, instruments: tuple[Instrument, ...], now_ns: int
) -> CaptureWriter:
    """Open the capture of one venue: a capture tells of one connection."""
    venue = instruments[0].venue
    names = tuple(each.name for each in instruments)

    def path(ns: int) -> Path:
        return state.captures / f"{venue}-{_stamp(ns)}.jsonl.gz"

    return CaptureWriter(
        path(now_ns),
        CaptureMeta(venue, names, instruments),
        settings.feed.record_max_mib * 1024 * 1024,
        path,
    )


def _stamp(now_ns: int) -> str:
    return iso_ns(now_ns)[:23].replace(":", "").replace(".", "-")

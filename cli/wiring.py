"""The composition root: which feed, broker, ledger and policy one engine is made of.

The only place that knows all packages. What it builds is closed by ``Rig.close``.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import msgspec

from cli.exit import tell
from cli.halts import Found, find, go_on
from cli.recovery import ask_at_start, left_by, open_account, recover
from cli.rig import Rig, RunSink
from core.brokers.fees import rates_of
from core.config import Settings
from core.engine import Engine, EngineSetup
from core.feeds.protocol import FeedProtocol
from core.feeds.ready import load_kernels
from core.latch import KillLatch
from core.model import event as ev
from core.model.decision import Mode
from core.model.instrument import Instrument, plain
from core.model.order import BrokerStart
from core.picture import RunFacts
from core.ports import OrderRoad, Policy
from core.recordings import Recordings
from core.session import Session
from core.state import StateDir
from core.versions import code_digest, lock_digest, version, versions
from core.watchdog.acts import forget_report
from ledger.anchors_watch import AnchorWatch
from ledger.lookup import Lookup
from ledger.manifest import note_input_file, previous_checkpoint, settings_tree
from ledger.payload_bound import PayloadBound
from ledger.references import BOUNDS
from ledger.rows import Gathering, History
from ledger.writer import LedgerWriter

KEEPING = ("live", "sim")
"""Runs whose paper venue keeps its account in the state directory; the others are lived once."""


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
    endpoints: dict[str, str] = {}
    """Where the market data comes from, by venue."""
    capture: Path | None = None
    """The capture replayed, so that ``ledger replay`` finds it again."""


def fees_by_venue(settings: Settings, instruments: list[Instrument]) -> dict[str, Decimal]:
    """Return the taker fee in basis points of every venue that the instruments are of."""
    return {each.venue: rates_of(settings.paper, each).taker_bps for each in instruments}


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


def wire(plan: RunPlan, protocol: FeedProtocol, broker: OrderRoad, writer: RunSink,
         history: History, start_ns: int, wall_ns: int,
         recordings: Recordings | None = None,
         recorded: ev.RunStarted | None = None) -> Rig:  # fmt: skip
    """Build the engine, write the start of the run and what was recovered.

    ``start_ns`` is engine time (the tape's in replay); ``wall_ns`` stays outside the hash.
    ``recorded`` is the manifest of the run that is lived through again, for its receipt.
    """
    instruments = [feed.instrument for feed in protocol.instruments]
    for one in instruments:
        load_kernels(one.venue)
    fees = fees_by_venue(plan.settings, instruments)
    policy, digests, note = load_policy(plan)
    latch = KillLatch(plan.state.path)
    found = find(plan.state.path)
    left = left_by(history, instruments)
    keeps = recorded is None and plan.source in KEEPING
    kept = open_account(
        broker, instruments, left, plan.state.path if keeps else None,
        None if recorded is None else recorded.broker_start,
    )  # fmt: skip
    lookup = Lookup(plan.state.path, {each.name: each.venue for each in instruments})
    started = recorded or _manifest(
        plan, protocol.venue, instruments, broker.name, digests, writer, found,
        ask_at_start(kept, left, lookup, start_ns),
    )  # fmt: skip
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
        fills=left.past,
        exits=history.exits_of(instruments),
        day_marked=history.day_marked,
        halted=started.halted,
        records_points=True,
    )
    engine = Engine(setup)
    # Engine time may begin in a past that is lived through; the ledger's begins now.
    engine.context.floor_ns = wall_ns if plan.source == "sim" else start_ns
    engine.context.move_to(start_ns)
    engine.context.write(started)
    writer.begin_run(started.run_id, wall_ns)
    if recorded is None and plan.capture is not None:
        note_input_file(plan.state.path, started.run_id, plan.capture)
    engine.execution.knows_fill = lookup.knows_fill
    engine.execution.past_status = lookup.past_status
    session = Session(engine, kept, writer, None if recordings is None else recordings.tape)
    session.recordings = recordings
    recover(session, left, started.broker_start)
    go_on(engine, started)
    if writer.start_text:
        engine.context.notify("warning", writer.start_text)
    if recorded is None and started.watchdog:
        writer.flush().result()
        forget_report(plan.state.path)
    facts = RunFacts(
        account="SIM" if protocol.venue == "sim" else "PAPER",
        source=plan.source_name,
        version=version(),
        started_ns=wall_ns,
        agent_note=note,
    )
    bound = None
    if recordings is not None:
        bound = PayloadBound(plan.state.path, plan.settings.storage.payloads_max_mib * 2**20)
    asked = plan.settings.anchors
    anchors = AnchorWatch(plan.state.path, asked) if keeps and asked.is_on else None
    return Rig(session, writer, facts, started.run_id, recordings,
               anchors=anchors, payload_bound=bound)  # fmt: skip


def _manifest(
    plan: RunPlan,
    venue: str,
    instruments: list[Instrument],
    broker: str,
    agent: dict[str, str],
    writer: RunSink,
    found: Found,
    broker_start: BrokerStart | None,
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
        settings=settings_tree(settings),
        lock_digest=lock_digest(),
        versions=versions(),
        endpoints=plan.endpoints,
        previous=previous_checkpoint(plan.state.path),
        halted=found.halted,
        halts=found.halts,
        rearms=found.rearms,
        watchdog=found.watchdog,
        broker_start=broker_start,
    )
    head = writer.head()
    basis = msgspec.json.encode([head[0], head[1], started], order="sorted")
    return msgspec.structs.replace(started, run_id=hashlib.sha256(basis).hexdigest()[:32])


def _instrument_row(instrument: Instrument) -> dict[str, str]:
    """Return what the ledger needs of an instrument; bounds that it does not have are left out."""
    row = {
        "name": instrument.name,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick_size": plain(instrument.tick_size),
        "lot_size": plain(instrument.lot_size),
    }
    bounds = {name: getattr(instrument, name) for name in BOUNDS}
    return row | {name: plain(bound) for name, bound in bounds.items() if bound}


def open_ledger(state: StateDir) -> tuple[LedgerWriter, History]:
    """Open the ledger for writing, verified, and read what trading needs from it."""
    gathering = Gathering()
    writer = LedgerWriter(state.path, gathering=gathering)
    if writer.start_text:
        tell(writer.start_text)
    return writer, gathering.history()

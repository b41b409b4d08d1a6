"""Kill the engine with SIGKILL at random moments in auto mode; after each, check all there is.

python bench/kill_nine.py [N] [SEED]. Exit code 1 at the first disagreement.

Each trial is a process of its own, forked from one that has loaded everything: the engine of
``tapewright run --mode auto --headless`` on the simulated market, with its ledger, witness, latch
and paper account on disk and every fsync real. Through a pipe it says what it has acknowledged:
each commit of the ledger after it was made, each order as it left, each fill as it was told, and
where it stood at its start. In a third of the trials everything is killed (SIGUSR1) shortly before.
Then, from outside and from the files alone:

I1  every acknowledged commit is in the ledger, under the same hash; every order that left has its
    intent, every fill that was told its FILL, at the latest after the next start
I2  no fill stands in the ledger twice
I3  the position is the sum of the fills: in the tables, in the next engine, at the venue
I4  an order without an end in the ledger is open in the engine that starts next
I5  no entry leaves while the latch is set; a kill that was latched is still latched
I7  the ledger verifies: chain, witness, tables
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cli.run_sim as program
from core.brokers.kept import KeptBroker
from core.brokers.memory import PaperMemory
from core.clock import SystemClock
from core.config import Settings, load_settings
from core.latch import KillLatch
from core.model.decision import Mode
from core.model.order import Order, OrderReport
from core.session import Session
from core.sim.venue import SimVenue
from core.state import EngineLock, StateDir
from ledger import witness
from ledger.chain import Head
from ledger.rows import load_history
from ledger.store import reading
from ledger.verify import verify

TRIALS_A_STATE = 40
"""Trials before a state directory is thrown away: opening a ledger takes longer as it grows."""
FAR = Decimal(10**9)
"""A limit that is not what is looked at here."""


def practice() -> Settings:
    """Return settings that trade all the time, on a market that runs faster than the clock."""
    base = load_settings(None)
    replace = msgspec.structs.replace
    return replace(
        base,
        run=replace(base.run, venue="sim", mode="auto"),
        sim=replace(base.sim, history_s=30, speed=30.0),
        blend=replace(base.blend, min_labels=10),
        feed=replace(base.feed, record=False),
        strategy=replace(base.strategy, threshold=0.005, min_edge_bps=-1000.0, min_skill=-1.0,
                         cooldown_s=0.0, hold_s=2.0),
        risk=replace(base.risk, max_orders_per_minute=10_000, max_consecutive_losses=1_000_000,
                     max_repeated_fills=1_000_000, max_daily_loss=FAR, max_session_loss=FAR,
                     max_drawdown=FAR),
    )  # fmt: skip


def child(state: StateDir, settings: Settings, pipe: int) -> None:
    """Be an engine until killed; tell what is acknowledged."""

    def tell(**facts: Any) -> None:
        os.write(pipe, json.dumps(facts).encode() + b"\n")

    write, submit, take = witness.write, KeptBroker.submit, KeptBroker.take_reports
    make, past_over = program.sim_rig, program.end_past

    def write_told(folder: Path, head: Head, **how: Any) -> None:
        write(folder, head, **how)
        tell(seq=head.seq, hash=head.hash.hex())

    def submit_told(self: KeptBroker, order: Order, now_ns: int) -> None:
        tell(left=order.client_order_id, reduces=order.reduces)
        submit(self, order, now_ns)

    def take_told(self: KeptBroker) -> list[OrderReport]:
        reports = take(self)
        for report in reports:
            if report.fill is not None:
                tell(fill=report.fill.fill_id)
        return reports

    def make_told(*args: Any, **named: Any) -> Any:
        rig, venue = make(*args, **named)
        engine = rig.session.engine
        tell(
            positions={n: b.position_lots for n, b in engine.account.books.items()},
            at_venue=rig.session.broker.positions(),
            differences=[each.text for each in engine.context.differences],
            halted=engine.context.halted,
            open=[s.order.client_order_id for s in engine.execution.orders.open_states()],
        )
        return rig, venue

    def past_over_told(session: Session, venue: SimVenue, past_ns: int) -> None:
        past_over(session, venue, past_ns)
        tell(ready=True)

    program.end_past = past_over_told
    witness.write, program.sim_rig = write_told, make_told  # type: ignore[assignment]
    KeptBroker.submit, KeptBroker.take_reports = submit_told, take_told  # type: ignore
    clock = SystemClock()
    with EngineLock(state, venue="sim", command="run", started_ns=clock.now_ns()):
        program.start_sim(settings, state, clock, None)


def warm(state: StateDir, settings: Settings) -> None:
    """Load the kernels, once for all the processes to come: three quarters of a start."""
    now_ns = time.time_ns()
    writer, history = program.open_ledger(state)
    plan = program.RunPlan(state=state, settings=settings, mode=Mode.AUTO, seed=1, source="sim",
                           source_name="warm")  # fmt: skip
    rig, venue = program.sim_rig(plan, writer, history, now_ns)
    program.begin_past(rig.session, venue, program.past_of(settings, now_ns))
    program.run_sim_until(rig.session, venue, now_ns)
    program.end_past(rig.session, venue, now_ns)
    rig.close("warm", now_ns)


class Trials:
    """The trials on one state directory, one after the other."""

    def __init__(self, folder: Path, settings: Settings, generator: np.random.Generator) -> None:
        self.state = StateDir(folder).create()
        self.settings = settings
        self.generator = generator
        self.counts: Counter[str] = Counter()
        self.told_fills: set[str] = set()
        self.left_open: set[str] = set()
        """Orders without an end in the ledger as the last kill left it."""
        self.lots: dict[str, int] = {}
        self.halted = False
        self.acknowledged = False
        """Anything at all, on this state directory."""

    def run(self) -> str:
        """Make one trial; return what is wrong, empty if nothing is."""
        if self.halted and self.generator.random() < 0.5:
            KillLatch(self.state.path).request_rearm("next trial", "human:bench", time.time_ns())
            self.halted = False
        facts, ready_s, was_killed = self._live()
        self.counts["trials"] += 1
        self.counts["ready_ms"] += round(ready_s * 1000)
        return self._judge(facts, was_killed=was_killed)

    def _live(self) -> tuple[list[dict[str, Any]], float, bool]:
        reader, writer = os.pipe()
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            os.close(reader)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            try:
                child(self.state, self.settings, writer)
            except BaseException as error:  # noqa: BLE001 (told to the parent, then gone)
                os.write(writer, json.dumps({"died": repr(error)}).encode() + b"\n")
            os._exit(1)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.readline()
            # A fifth of the kills come while it starts.
            waits = self.generator.random() < 0.8
            while waits and b"ready" not in said and (line := pipe.readline()):
                said += line
            ready_s = time.monotonic() - began
            time.sleep(float(self.generator.exponential(0.5 if waits else 0.1)))
            was_killed = waits and self.generator.random() < 1 / 3
            if was_killed:
                os.kill(pid, signal.SIGUSR1)
                time.sleep(float(self.generator.exponential(0.02)))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            lines = (said + pipe.read()).split(b"\n")
        # The last line may be cut off: then it was not said.
        return [json.loads(line) for line in lines[:-1]], ready_s, was_killed

    def _judge(self, facts: list[dict[str, Any]], *, was_killed: bool) -> str:
        died = next((fact["died"] for fact in facts if "died" in fact), "")
        if died:
            return f"the engine ended by itself: {died}"
        self.acknowledged |= any(fact.get("seq") for fact in facts)
        if not self.acknowledged:
            self.counts["killed before the first commit"] += 1
            return ""  # there may be no ledger yet, and nobody was told of one
        wrong = self._judge_start(facts)
        with reading(self.state.path) as connection:
            hashes = dict(connection.execute("SELECT seq, hash FROM events"))
            fills = connection.execute(
                "SELECT instrument, side, fill_id, quantity FROM fills"
            ).fetchall()
            orders = {row[0] for row in connection.execute("SELECT client_order_id FROM orders")}
        for fact in facts:
            if fact.get("seq") and hashes.get(fact["seq"], b"").hex() != fact["hash"]:
                wrong = wrong or f"I1: commit {fact['seq']} was acknowledged and is gone"
            if "left" in fact and fact["left"] not in orders:
                wrong = wrong or f"I1: order {fact['left']} left and has no intent"
        ids = [row[2] for row in fills]
        if len(set(ids)) != len(ids):
            wrong = wrong or "I2: a fill stands in the ledger twice"
        self.told_fills = {fact["fill"] for fact in facts if "fill" in fact}
        history = load_history(self.state.path)
        self.left_open = set(history.open_orders)
        self.lots = Counter()
        for past in history.fills:
            self.lots[past.fill.instrument] += past.fill.side.sign * past.fill.qty_lots
        found = verify(self.state.path)
        if found.findings:
            wrong = wrong or f"I7: {found.findings[0]}"
        kill_latch = KillLatch(self.state.path)
        latch = kill_latch.read()
        if self.halted and not latch.is_halted:
            wrong = wrong or "I5: the latch was set and is open"
        # A request that the last start did not live to carry out is the next one's.
        self.halted = latch.is_halted and kill_latch.rearm_request() is None
        self.counts["commits"] += sum("seq" in fact for fact in facts)
        self.counts["left"] += sum("left" in fact for fact in facts)
        self.counts["fills"] += len(self.told_fills)
        self.counts["open at the kill"] += len(self.left_open)
        self.counts["fills not yet in the ledger"] += len(self.told_fills - set(ids))
        self.counts["latched"] += was_killed and latch.is_halted
        return wrong

    def _judge_start(self, facts: list[dict[str, Any]]) -> str:
        """Judge where the engine stood at its start by what the last kill left behind."""
        start = next((fact for fact in facts if "positions" in fact), None)
        if start is None:
            return ""  # killed before it stood
        self.counts["starts"] += 1
        lots = {name: n for name, n in start["positions"].items() if n}
        if lots != start["at_venue"] and not start["differences"]:
            return f"I3: the engine holds {lots}, the venue {start['at_venue']}"
        if start["differences"]:
            self.counts["starts with a difference"] += 1
            print(f"  {start['differences']}", flush=True)
        with reading(self.state.path) as connection:
            ids = {row[0] for row in connection.execute("SELECT fill_id FROM fills")}
        if missing := self.told_fills - ids:
            return f"I1: fills {missing} were told and are not in the ledger after a start"
        ended = {line.order.client_order_id for line in PaperMemory(self.state.path).orders
                 if not line.is_open}  # fmt: skip
        if gone := self.left_open - set(start["open"]) - ended:
            return f"I4: orders {gone} were open and are neither open nor ended at the venue"
        if self.halted and not start["halted"]:
            return "I5: halted before the kill, trading after it"
        if start["halted"] and any(not fact.get("reduces", True) for fact in facts):
            return "I5: an entry left while halted"
        self.counts["starts halted"] += bool(start["halted"])
        return ""


def main(count: int, seed: int) -> int:
    generator, settings = np.random.default_rng(seed), practice()
    totals: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        warm(StateDir(Path(folder) / "warm").create(), settings)
        for first in range(0, count, TRIALS_A_STATE):
            trials = Trials(Path(folder) / f"s{first}", settings, generator)
            for number in range(first + 1, min(count, first + TRIALS_A_STATE) + 1):
                wrong = trials.run()
                if wrong:
                    print(f"trial {number} (seed {seed}): {wrong}")
                    return 1
            totals += trials.counts
            print(f"{totals['trials']} kills in {time.monotonic() - began:.0f} s: " + ", ".join(
                f"{name} {number}" for name, number in sorted(totals.items())
                if name not in {"trials", "ready_ms"}
            ) + f"; ready after {totals['ready_ms'] / totals['trials']:.0f} ms on average",
                flush=True)  # fmt: skip
    print(f"{count} kills, nothing acknowledged lost, nothing doubled, halted stayed halted")
    return 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [20, 1][len(numbers) :])))

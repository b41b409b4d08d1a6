"""Kill in bad states: real processes, a real fault, and what came of it, as a table.

python bench/bad_states.py [STATE]...

Each state begins with a simulated or stub market traded in auto mode and a position open. Then the
fault, then the kill: by the watchdog alone where the loop is gone, else as the screen sends it,
with the latch file behind it as ``tapewright kill`` writes it. The time is from the kill (for the
watchdog: from the fault) until the engine's gate is seen closed, or the engine gone, from outside.
Exit code 1 when an order for new risk left after that, or a start after it was not halted.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.control import Ack, GetSnapshot, KillAll, Picture, request
from core.errors import TryAgain
from core.latch import KillLatch
from core.snapshot import Snapshot
from core.watchdog.beat import BeatFile
from tests.journeys.program import PRACTICE, command, tapewright

FAULTY = Path(__file__).with_name("faulty_engine.py")
WAIT_S = 90.0
SIM = "[sim]\nhistory_s = 120\nspeed = 20\n[paper]\nlatency_ms = 20\n"


class Row(NamedTuple):
    state: str
    trigger: str
    closed_ms: float
    happened: str
    said: str
    after: str
    is_bad: bool


class Bed:
    """One engine on a state directory of its own."""

    def __init__(self, folder: Path, fault: str = "none", more: str = SIM) -> None:
        self.folder = folder
        self.state = folder / "s"
        self.config = folder / "c.toml"
        # Positions last, so that the kill finds one.
        practice = PRACTICE.replace("hold_s = 5", "hold_s = 3000")
        self.config.write_text(practice + more, encoding="utf-8")
        self.fault = fault
        self.words: list[str] = []
        self.engine: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        self.words = ["run", "--headless", "--mode", "auto", "--state", str(self.state),
                      "--config", str(self.config), *words]  # fmt: skip
        self.engine = subprocess.Popen(
            [sys.executable, str(FAULTY), self.fault, *self.words],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "err").open("ab"),
        )  # fmt: skip

    def picture(self) -> Snapshot | None:
        try:
            reply = request(self.state, GetSnapshot(), timeout_s=1.0)
        except TryAgain:
            return None
        return reply.snapshot if isinstance(reply, Picture) else None

    def wait(self, seen: Callable[[Snapshot], object], wait_s: float = WAIT_S) -> Snapshot | None:
        """Wait for a picture; None when it does not come."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            picture = self.picture()
            if picture is not None and seen(picture):
                return picture
            time.sleep(0.02)
        return None

    def trade(self, *words: str) -> Snapshot:
        """Start, and wait until a position is open and guarded."""
        self.start(*words)
        picture = self.wait(is_holding)
        if picture is None:
            raise SystemExit(f"no position: {(self.folder / 'err').read_text()[-2000:]}")
        return picture

    def begin_fault(self) -> float:
        (self.state / "FAULT").touch()
        return time.perf_counter()

    def closed_after(self, since: float, wait_s: float = 30.0) -> float:
        """Return the milliseconds until the gate is seen closed, or the engine gone."""
        assert self.engine is not None
        beats = BeatFile.open(self.state)
        while time.perf_counter() - since < wait_s:
            beat = beats.engine()
            if (beat is not None and beat.is_closed) or self.engine.poll() is not None:
                break
            time.sleep(0.0005)
        beats.close()
        return (time.perf_counter() - since) * 1000

    def kill(self) -> tuple[float, str]:
        """Kill as the screen does; return the time to the closed gate and the words."""
        start = time.perf_counter()
        try:
            reply = request(self.state, KillAll(reason="F12"), timeout_s=2.0)
            said = reply.text if isinstance(reply, Ack) else "?"
        except TryAgain as error:
            done = KillLatch(self.state).trip("F12", "human:trader", time.time_ns(), flattens=True)
            said = f"no answer ({error}); latch written: {done}"
        return self.closed_after(start), said

    def watchdog_said(self) -> str:
        time.sleep(0.5)  # it says its last word when the engine is gone
        lines = (self.state / "logs" / "watchdog.log").read_text("utf-8").splitlines()
        return "; ".join(line.split(" ", 1)[1] for line in lines if "watches engine" not in line)

    def flat_after(self, wait_s: float = 20.0) -> str:
        picture = self.wait(lambda p: not p.orders and not is_holding(p), wait_s)
        return "flat, no order" if picture is not None else self.left()

    def left(self) -> str:
        picture = self.picture()
        if picture is None:
            return "engine gone"
        held = [f"{view.instrument} {view.qty}" for view in picture.positions if view.lots]
        return f"holds {', '.join(held) or 'nothing'}, {len(picture.orders)} orders open"

    def stop(self) -> None:
        if self.engine is not None and self.engine.poll() is None:
            self.engine.send_signal(signal.SIGCONT)
            self.engine.terminate()
            try:
                self.engine.wait(15)
            except subprocess.TimeoutExpired:
                self.engine.kill()
                self.engine.wait()

    def after(self, *words: str, is_flat: bool = True) -> tuple[str, bool]:
        """Start again without a fault; return in words what it found, and whether that is bad."""
        self.stop()
        (self.state / "FAULT").unlink(missing_ok=True)
        self.fault = "none"
        self.start(*words)
        picture = self.wait(lambda p: p.instruments[0].bids)
        if picture is None:
            text = (self.folder / "err").read_text().strip().splitlines()[-1:]
            return f"start refused: {' '.join(text)[:160]}", False
        halted = picture.risk.is_halted
        end = self.flat_after() if is_flat else self.left()
        self.stop()
        new = self.new_risk_after_kill()
        report = " (watchdog's report in the ledger)" if self.has_report() else ""
        words_of = f"starts {'HALTED' if halted else 'OPEN'}, {end}{report}, {new} entries after"
        return words_of, not halted or bool(new)

    def events(self) -> list[dict[str, object]]:
        done = tapewright("ledger", "export", "--table", "events", "--format", "jsonl",
                          "--out", "-", "--state", self.state)  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]

    def verified(self) -> str:
        done = tapewright("ledger", "verify", "--state", self.state)
        return (done.stdout or done.stderr).strip().splitlines()[0]

    def has_report(self) -> bool:
        return any(
            event["type"] == "RUN_STARTED" and payload_of(event).get("watchdog")
            for event in self.events()
        )

    def new_risk_after_kill(self) -> int:
        """Count orders for new risk that left after the first KILL in the ledger."""
        entries, killed, count = set(), False, 0
        for event in self.events():
            payload = payload_of(event)
            if event["type"] == "ORDER_INTENT" and not payload["order"]["reduces"]:
                entries.add(payload["order"]["client_order_id"])
            killed = killed or event["type"] == "KILL"
            if killed and event["type"] == "INPUT" and payload["kind"] == "sent":
                count += payload["text"] in entries
        return count


def payload_of(event: dict[str, object]) -> dict:
    payload = event["payload"]
    return json.loads(payload) if isinstance(payload, str) else payload  # type: ignore[return-value]


def is_holding(picture: Snapshot) -> bool:
    return any(view.lots for view in picture.positions)


@contextmanager
def bed(fault: str = "none", more: str = SIM, folder: Path | None = None) -> Iterator[Bed]:
    with tempfile.TemporaryDirectory(prefix="tw-bad-") as made:
        one = Bed(folder or Path(made), fault, more)
        try:
            yield one
        finally:
            one.stop()


# --- the states ---------------------------------------------------------------------------------


def loop_blocked(fault: str, name: str) -> Row:
    with bed(fault) as one:
        one.trade()
        ms = one.closed_after(one.begin_fault())
        assert one.engine is not None
        one.engine.wait(40)
        said = one.watchdog_said()
        after, is_bad = one.after()
        return Row(name, "watchdog", ms, "engine ended", said, after,
                   is_bad)  # fmt: skip


def engine_stopped() -> Row:
    with bed() as one:
        one.trade()
        assert one.engine is not None
        one.engine.send_signal(signal.SIGSTOP)
        ms = one.closed_after(time.perf_counter())
        one.engine.wait(40)
        said = one.watchdog_said()
        after, is_bad = one.after()
        return Row("engine stopped (SIGSTOP)", "watchdog", ms, "engine ended", said, after, is_bad)


def disk_full() -> Row:
    with tempfile.TemporaryDirectory(prefix="tw-full-") as mount:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=48m", "none", mount], check=False
        )
        if done.returncode:
            return Row("disk full", "-", 0, "not run: mounting a tmpfs needs root", "", "", False)
        try:
            with bed(folder=Path(mount)) as one:
                one.trade()
                fill_up(Path(mount))
                time.sleep(1.0)
                ms, said = one.kill()
                happened = one.left()
                (Path(mount) / "ballast").unlink()
                after, is_bad = one.after()
                return Row("disk full", "F12", ms, happened, said, after, is_bad)
        finally:
            subprocess.run(["umount", "-l", mount], check=True)


def fill_up(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def profit_raises() -> Row:
    with bed("pnl") as one:
        one.trade()
        one.begin_fault()
        ms, said = one.kill()
        happened = one.flat_after()
        after, is_bad = one.after()
        return Row("P&L raises", "F12", ms, happened, said, after, is_bad)


def profit_raises_alone() -> Row:
    with bed("pnl") as one:
        one.trade()
        ms = one.closed_after(one.begin_fault())
        picture = one.wait(lambda p: p.risk.is_halted, 10)
        said = picture.risk.halt_reason if picture else "?"
        happened = one.flat_after()
        after, is_bad = one.after()
        return Row("P&L raises, nobody there", "engine", ms, happened, said, after, is_bad)


def lots_raise() -> Row:
    """The closing fill itself cannot be counted, by the engine or by the ledger's tables."""
    with bed("lots") as one:
        one.trade()
        time.sleep(1.0)  # the fill that opened the position is in the ledger and its tables
        one.begin_fault()
        ms, said = one.kill()
        happened = one.flat_after()
        picture = one.picture()
        told = (
            [n.text for n in picture.notices if "profit is not known" in n.text] if picture else []
        )
        fills = [payload_of(e) for e in one.events() if e["type"] == "FILL"]
        blank = sum(each["realized_pnl"] == "NaN" for each in fills)
        after, is_bad = one.after()
        found = one.verified()
        tapewright("ledger", "rebuild", "--state", one.state)
        again = one.verified()
        happened += f"; {blank} fill in the ledger without a profit, told {len(told)} times"
        after += f"; verify: {found}; after ledger rebuild: {again}"
        is_bad = is_bad or not blank or "table lots" not in found or "table lots" in again
        return Row("lots cannot be counted", "F12", ms, happened, said, after, is_bad)


def screen_hung() -> Row:
    with bed() as one:
        one.trade()
        screen, terminal = pty.fork()
        if screen == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
            os.execv(sys.executable, command("attach", "--state", one.state))
        time.sleep(3.0)
        os.kill(screen, signal.SIGSTOP)
        start = time.perf_counter()
        done = tapewright("kill", "--reason", "the screen hangs", "--state", one.state)
        ms = (time.perf_counter() - start) * 1000
        happened = one.flat_after()
        os.kill(screen, signal.SIGKILL)
        os.waitpid(screen, 0)
        os.close(terminal)
        after, is_bad = one.after()
        return Row("screen hung", "tapewright kill (its start included)", ms, happened,
                   done.stderr.strip(), after, is_bad)  # fmt: skip


def ledger_corrupt() -> Row:
    with bed() as one:
        one.trade()
        for name in ("ledger.db", "ledger.db-wal"):
            path = one.state / name
            with path.open("r+b") as file:
                file.seek(0)
                file.write(os.urandom(path.stat().st_size))
        time.sleep(1.0)
        ms, said = one.kill()
        happened = one.flat_after(10)
        after, is_bad = one.after(is_flat=False)
        return Row("ledger corrupt", "F12", ms, happened, said, after, is_bad)


def venue_slow() -> Row:
    slow = SIM.replace("latency_ms = 20", "latency_ms = 5000\nreport_latency_ms = 5000")
    with bed(more=slow.replace("speed = 20", "speed = 5")) as one:
        one.trade()
        start = time.perf_counter()
        ms, said = one.kill()
        happened = one.flat_after(60)
        flat_s = time.perf_counter() - start
        after, is_bad = one.after()
        return Row("venue slow (5 s each way, 5 x time)", "F12", ms,
                   f"{happened} {flat_s:.1f} s later", said, after, is_bad)  # fmt: skip


def open_stub(port: str) -> tuple[subprocess.Popen[str], str]:
    """Start a venue on this machine; return it and its address."""
    words = command("stub", "--venue", "binance", "--speed", "1", "--seed", "7", "--port", port)
    stub = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert stub.stdout is not None
    return stub, stub.stdout.readline().strip()


def venue_unreachable() -> Row:
    with bed(more="") as one:
        stub, endpoint = open_stub("0")
        try:
            one.trade("--venue", "binance", "--endpoint", endpoint, "--no-record")
            stub.kill()
            stub.wait()
            one.wait(lambda p: p.instruments[0].feed.state != "live", 20)
            ms, said = one.kill()
            time.sleep(2.0)
            happened = one.left()
            stub, _ = open_stub(endpoint.rpartition(":")[2])
            back = one.flat_after(60)
            latched = KillLatch(one.state).read().is_halted
            new = one.new_risk_after_kill()
            return Row("venue unreachable", "F12", ms, happened, said,
                       f"no restart: the venue comes back, {back}, halted: {latched}, "
                       f"{new} entries after", not latched or bool(new))  # fmt: skip
        finally:
            if stub.poll() is None:
                stub.kill()
                stub.wait()


STATES: dict[str, Callable[[], Row]] = {
    "block_python": lambda: loop_blocked("block_python", "loop blocked in Python"),
    "block_c": lambda: loop_blocked("block_c", "loop blocked in C"),
    "stopped": engine_stopped,
    "disk_full": disk_full,
    "pnl": profit_raises,
    "pnl_alone": profit_raises_alone,
    "lots": lots_raise,
    "screen_hung": screen_hung,
    "ledger_corrupt": ledger_corrupt,
    "venue": venue_unreachable,
    "venue_slow": venue_slow,
}


def main(names: list[str]) -> int:
    is_bad = False
    print("| state | killed by | gate closed after | what happened | what was said | next start |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or STATES:
        row = STATES[name]()
        is_bad = is_bad or row.is_bad
        print(f"| {row.state} | {row.trigger} | {row.closed_ms:.0f} ms | {row.happened} | "
              f"{row.said} | {row.after} |", flush=True)  # fmt: skip
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

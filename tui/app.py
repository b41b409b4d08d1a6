"""The app: pulls the newest snapshot at a steady pace, draws it, carries keys to the engine.

It holds no trading state. Every command becomes a task of its own with a visible end; the kill
key is bound here with priority, so it fires in modals, inputs, the palette and the help sheet.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.types import CSSPathType
from typing_extensions import override

from core import scopes
from core.clock import Clock, SystemClock
from core.config import ScreenSettings
from core.control import (
    SOCKET_NAME,
    AnyCommand,
    FlattenAll,
    Kill,
    KillAll,
    Rearm,
    ResolveDifference,
    ReversePosition,
    SetExit,
    SetMode,
    Stop,
)
from core.latch import KillLatch
from core.model.decision import Mode
from core.model.difference import Remedy
from core.model.exits import ExitKind
from core.ports import Latch
from tui.actions import ACTIONS, bindings
from tui.frames import FramePacer
from tui.palette import styles
from tui.present.positions import reverse_lines
from tui.present.scene import Said
from tui.present.text import clean
from tui.screens.confirm import ConfirmScreen
from tui.screens.desk import DeskScreen
from tui.screens.difference import DifferenceScreen
from tui.screens.exit import ExitScreen
from tui.screens.feed import FeedScreen
from tui.screens.fill import FillScreen, TellStory
from tui.screens.help import HelpScreen
from tui.screens.leave import LeaveScreen
from tui.screens.mode import ModeScreen
from tui.screens.rearm import RearmScreen
from tui.source import EngineLost, SnapshotSource, SocketSource
from tui.state import DeskState


class TapewrightApp(App[int]):
    """The trader's screen; returns an exit code."""

    CSS_PATH: ClassVar[CSSPathType | None] = Path(__file__).with_name("styles.tcss")
    TITLE: str | None = "tapewright"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("everywhere")]

    def __init__(
        self,
        source: SnapshotSource,
        settings: ScreenSettings,
        clock: Clock,
        *,
        owns_engine: bool = False,
        min_labels: int | None = None,
        latch: Latch | None = None,
        stopwatch: Callable[[], int] = time.process_time_ns,
        tell_story: TellStory | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self._source = source
        self._settings = settings
        self._clock = clock
        self._owns_engine = owns_engine
        self._latch = latch
        self._tell_story = tell_story
        self._pacer = FramePacer(settings.hz, stopwatch)
        self._wanted = asyncio.Event()
        self._drawn: object = None
        self._is_leaving = False
        self.ascii_only = settings.glyphs == "ascii"
        self.state = DeskState(clock.now_ns(), settings.hz, min_labels)
        self.desk = DeskScreen(styles(settings.palette), ascii_only=self.ascii_only)

    @override
    def get_default_screen(self) -> DeskScreen:
        """Return the desk."""
        return self.desk

    # --- frames ------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Start pulling and the one timer that paces it."""
        self.run_worker(self._pull_forever(), group="pull")
        self.set_interval(1 / self._settings.hz, self._tick)
        self._wanted.set()

    async def on_unmount(self) -> None:
        """Let go of the engine."""
        await self._source.close()

    def _tick(self) -> None:
        if not self._pacer.tick():
            return
        self.state.hz, self.state.cost_ms = self._pacer.hz, self._pacer.cost_ms
        if self._wanted.is_set():
            self.draw()  # the last pull is still out: the ages must move all the same
        self._wanted.set()

    async def _pull_forever(self) -> None:
        while True:
            await self._wanted.wait()
            await self.pull_once()
            self._wanted.clear()

    async def pull_once(self) -> None:
        """Pull one snapshot and draw it; a lost engine is drawn, never raised."""
        try:
            snapshot = await self._source.pull()
        except EngineLost as error:
            self.state.lose(str(error))
        else:
            self.state.receive(snapshot, self._clock.now_ns())
        self.draw()

    def draw(self) -> None:
        """Draw what changed: the chrome always, the panes when their scene did."""
        if not self.desk.is_mounted:
            return
        now_ns = self._clock.now_ns()
        panes = self.state.draw(now_ns)
        self.desk.show_chrome(self.state.chrome(now_ns))
        picture = panes.snapshot
        key = (
            picture and (picture.run_id, picture.number), panes.doubt(), panes.is_armed,
            panes.decision_id, panes.instrument, panes.focus, panes.paused,
            panes.position_row, panes.order_row, panes.fill_row,
        )  # fmt: skip
        if key != self._drawn:
            self._drawn = key
            self.desk.show_panes(panes)

    # --- commands ----------------------------------------------------------------------------

    def dispatch(self, wanted: AnyCommand | Said, label: str) -> None:
        """Send a command as a task of its own, or say why nothing is sent."""
        if isinstance(wanted, Said):
            self.say(wanted)
            return
        self.run_worker(self._carry(wanted, label), group="commands", name=label)

    async def _carry(self, command: AnyCommand, label: str) -> bool:
        """Send and say how it ended. A kill that did not arrive stays in the banner."""
        is_kill = isinstance(command, KillAll | Kill)
        self.say(Said("info", f"{label}: sent, waiting for the engine"))
        try:
            ack = await self._source.send(command)
        except EngineLost as error:
            self.state.withdraw_answer(command)
            latched = self._latch_alone(command) if isinstance(command, KillAll | Kill) else ""
            self.say(Said("error", f"{label}: NOT DONE{latched}: {error}", sticks=is_kill))
            return False
        if not ack.ok:
            self.state.withdraw_answer(command)
            self.say(Said("error", f"{label}: refused: {ack.text}", sticks=is_kill))
            return False
        if is_kill:
            self.state.forget_said()
        self.say(Said("warning" if is_kill else "info", f"{label}: {ack.text}"))
        return True

    def _latch_alone(self, kill: KillAll | Kill) -> str:
        """Write the latch that a lost engine cannot, so that the next one starts halted."""
        if self._latch is None:
            return ""
        scope = kill.scope if isinstance(kill, Kill) else scopes.ALL
        latch = self._latch if scope == scopes.ALL else self._latch.of(scope)
        is_durable = latch.trip(
            kill.reason, kill.actor, self._clock.now_ns(), flattens=scope != scopes.STRATEGY
        )
        return ", only latched" if is_durable else ", NOT latched"

    def say(self, said: Said) -> None:
        """Put a word in the banner; errors and words under a modal also pop up."""
        self.state.say(said, self._clock.now_ns())
        if said.severity == "error" or self.screen is not self.desk:
            self.notify(
                clean(said.text),
                severity="error" if said.severity == "error" else "warning",
                markup=False,
            )
        self.draw()

    def action_kill_all(self) -> None:
        """Kill everything now, whatever the screen shows."""
        self.dispatch(KillAll(), "KILL ALL")

    def answer(self, *, yes: bool) -> None:
        """Confirm or reject the proposal on show."""
        wanted = self.state.answer(yes=yes, now_ns=self._clock.now_ns())
        self.dispatch(wanted, "confirm" if yes else "reject")

    def close_trade(self) -> None:
        """Kill the selected trade."""
        self.dispatch(self.state.close_trade(self._clock.now_ns()), "kill trade")

    def halt_instrument(self) -> None:
        """Kill and halt the selected instrument."""
        self.dispatch(self.state.halt_instrument(self._clock.now_ns()), "halt instrument")

    def halt_strategy(self) -> None:
        """Halt what the strategy opens."""
        self.dispatch(Kill(scopes.STRATEGY, "key S"), "halt strategy")

    def cancel_order(self) -> None:
        """Cancel the chosen order."""
        self.dispatch(self.state.cancel_order(), "cancel order")

    def reduce(self) -> None:
        """Close half of the chosen position."""
        self.dispatch(self.state.reduce(self._clock.now_ns()), "half")

    def ask_exit(self, kind: ExitKind) -> None:
        """Ask where an exit of the chosen position goes, and send it."""
        held = self.state.position(self._clock.now_ns())
        if isinstance(held, Said):
            self.say(held)
            return
        name = held.instrument

        def typed(value: str | None) -> None:
            if value is not None:
                self.dispatch(SetExit(name, kind, value), f"{kind.value} {name}")

        self.push_screen(ExitScreen(kind, held), typed)

    def ask_reverse(self) -> None:
        """Ask before the chosen position is turned over."""
        held = self.state.position(self._clock.now_ns())
        if isinstance(held, Said):
            self.say(held)
            return
        command = ReversePosition(held.instrument, held.lots)
        self.ask_first(f"REVERSE {held.instrument}?", reverse_lines(held), command, "reverse")

    def ask_flatten(self) -> None:
        """Ask before everything is closed."""
        words = self.state.open_words()
        if not words:
            self.say(Said("info", "nothing sent: nothing is open"))
            return
        lines = [*words, "", "Trading goes on: in auto mode a new entry may follow. F12 halts too."]
        self.ask_first("FLATTEN ALL?", lines, FlattenAll(), "flatten all")

    def ask_first(self, title: str, lines: Sequence[str], command: AnyCommand, label: str) -> None:
        """Show what ``command`` does and send it when the trader says yes."""

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.dispatch(command, label)

        self.push_screen(ConfirmScreen(title, lines), answered)

    # --- looking around ----------------------------------------------------------------------

    def focus_on(self, pane: str) -> None:
        """Move the arrows to another pane."""
        self.state.focus = pane
        self.draw()

    def move(self, step: int) -> None:
        """Move the selection in the focused pane."""
        self.state.move(step, self._clock.now_ns())
        self.draw()

    def select_instrument(self, index: int) -> None:
        """Show another instrument."""
        if not self.state.select_instrument(index):
            self.say(Said("info", f"there is no instrument {index + 1}"))
        self.draw()

    def toggle_pause(self) -> None:
        """Freeze or thaw the panes."""
        self.state.paused = not self.state.paused
        self.draw()

    # --- sheets ------------------------------------------------------------------------------

    def show_help(self) -> None:
        """Show every key."""
        self.push_screen(HelpScreen())

    def show_feeds(self) -> None:
        """Show what is known of the feeds."""
        self.push_screen(FeedScreen(lambda: self.state.newest))

    def show_fill(self) -> None:
        """Show the chosen fill in full."""
        fill = self.state.chosen_fill()
        if fill is None:
            self.say(Said("info", "choose a fill first (tab to FILLS)"))
        else:
            self.push_screen(FillScreen(fill, self._tell_story))

    def ask_mode(self) -> None:
        """Ask for a mode and send it."""
        snapshot = self.state.newest
        if snapshot is None:
            self.say(Said("warning", "no engine yet"))
            return

        def chosen(mode: Mode | None) -> None:
            if mode is not None:
                self.dispatch(SetMode(mode), f"mode {mode.value}")

        self.push_screen(ModeScreen(snapshot.mode, snapshot.account), chosen)

    def ask_rearm(self) -> None:
        """Ask for the reason and re-arm; only while halted."""
        halted = self.state.halted(self._clock.now_ns())
        if halted is None:
            self.say(Said("info", "nothing to re-arm: trading is not halted"))
            return
        scope, why = halted

        def reasoned(reason: str | None) -> None:
            if reason is not None:
                self.dispatch(Rearm(reason, scope=scope), "re-arm")

        self.push_screen(RearmScreen(why), reasoned)

    def ask_difference(self) -> None:
        """Show the first difference from the broker and ask what to do; only while there is one."""
        snapshot = self.state.newest
        differences = () if snapshot is None else snapshot.risk.differences
        if not differences:
            self.say(Said("info", "the broker agrees with us"))
            return
        first = differences[0]

        def resolved(word: tuple[str, str] | None) -> None:
            if word is not None:
                remedy, reason = word
                command = ResolveDifference(first.key, Remedy(remedy), reason)
                self.dispatch(command, f"{remedy} {first.key}")

        self.push_screen(DifferenceScreen(first, len(differences)), resolved)

    # --- leaving -----------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leave; the owner of the engine stops it, and asks first when something is open."""
        if isinstance(self.screen, LeaveScreen):
            return
        if self._is_leaving:
            self.exit(1)  # asked twice: the engine does not answer, the trader wants out
            return
        if not self._owns_engine:
            self.exit(0)
            return
        words = self.state.open_words()
        if not words:
            self._stop_and_leave(True)
            return
        is_lost = self.state.chrome(self._clock.now_ns()).lost_ms is not None
        self.push_screen(LeaveScreen(words, is_lost=is_lost), self._stop_and_leave)

    def _stop_and_leave(self, agreed: bool | None) -> None:
        if agreed:
            self._is_leaving = True
            self.run_worker(self._stop(), group="commands", name="stop")

    async def _stop(self) -> None:
        is_stopped = await self._carry(Stop("the trader closed the screen"), "stop")
        self.exit(0 if is_stopped else 1)

    @override
    async def action_quit(self) -> None:
        """Take Textual's own way out through ours."""
        self.action_leave()

    @override
    def action_help_quit(self) -> None:
        """Answer ctrl+c, which leaves other programs: here it must not be mistaken for a kill."""
        self.say(Said("info", "ctrl+c does nothing here: ctrl+q leaves, F12 kills everything"))

    @override
    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return the palette: the registry's actions, nothing else."""
        del screen
        for spec in ACTIONS:
            if spec.in_palette:
                place = self if spec.where == "everywhere" else self.desk
                run = getattr(place, f"action_{spec.name}")
                yield SystemCommand(f"{spec.label} ({spec.shown})", spec.help, run)


def run_screen(
    state_dir: Path,
    settings: ScreenSettings,
    owns_engine: bool,
    min_labels: int | None = None,
    tell_story: TellStory | None = None,
) -> int:
    """Show the engine of ``state_dir`` until the trader leaves; return the exit code.

    ``owns_engine``: leaving stops the engine. ``tell_story``: tells of a fill from the ledger,
    which the screen does not know. Exit code 1 when that stop did not arrive.
    """
    source = SocketSource(state_dir / SOCKET_NAME)
    app = TapewrightApp(
        source, settings, SystemClock(), owns_engine=owns_engine, min_labels=min_labels,
        latch=KillLatch(state_dir), tell_story=tell_story,
    )  # fmt: skip
    # What is imported by now stays: taking it out of the collector's sight halves its longest
    # pause in the screen (48 to 27 ms at 160x45).
    gc.collect()
    gc.freeze()
    _yield_to_engine()
    code = app.run()
    return app.return_code or 0 if code is None else code


def _yield_to_engine() -> None:
    """Let the screen wait for its turn: a picture that arrives must not push the engine aside.

    Else each of ten pictures a second costs the engine its processor at once: p99 from a message
    sent to its features was 4 ms, and is 1.5 ms (docs/performance.md).
    """
    if hasattr(os, "SCHED_BATCH"):  # Linux; a sandbox may forbid it
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

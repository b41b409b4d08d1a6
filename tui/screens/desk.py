"""The desk: the one screen that trades. Lays out the panes and turns keys into app calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from typing_extensions import override

from core.model.exits import ExitKind
from tui.actions import bindings
from tui.present.agent import present_agent
from tui.present.blotter import present_fills, present_orders
from tui.present.essentials import present_essentials, present_notices
from tui.present.line import Line, Role, Span
from tui.present.pnl import present_pnl
from tui.present.positions import present_positions
from tui.present.proposal import present_proposal
from tui.present.scene import Scene
from tui.present.signals import present_signals
from tui.present.status import banner_line, header_line, instruments_line, status_line
from tui.widgets.pane import Pane, Presenter
from tui.widgets.presenters import chart, footer_line, ladder, panel, row

if TYPE_CHECKING:
    from tui.app import TapewrightApp

MIN_WIDTH, MIN_HEIGHT = 80, 24
CHROME = ("header", "instruments", "banner", "status", "footer", "small")
PANES = (
    "ladder", "positions", "orders", "essentials", "chart", "proposal", "fills",
    "signals", "agent", "pnl", "notices",
)  # fmt: skip


class DeskScreen(Screen[None]):
    """All panes; which are shown depends on the size classes and ``styles.tcss``."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("desk")]
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [  # noqa: RUF012 - as Textual has it
        (0, "-tiny"), (MIN_WIDTH, "-narrow"), (120, "-normal"), (180, "-wide"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [  # noqa: RUF012 - as Textual has it
        (0, "-short"), (MIN_HEIGHT, "-low"), (36, "-middle"), (54, "-tall"),
    ]  # fmt: skip

    def __init__(self, styles: Mapping[Role, Style], *, ascii_only: bool) -> None:
        super().__init__()
        self._role_styles = styles
        self._ascii_only = ascii_only
        self._panes: dict[str, Pane] = {}

    @override
    def compose(self) -> ComposeResult:
        """Lay out chrome and three columns."""
        yield self._pane("header", row(header_line))
        yield self._pane("instruments", row(instruments_line))
        yield self._pane("banner", row(banner_line))
        yield self._pane("small", too_small)
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield self._pane("ladder", ladder())
                yield self._pane("positions", panel("positions", present_positions), rows=True)
                yield self._pane("orders", panel("orders", present_orders), rows=True)
                yield self._pane("pnl", panel("pnl", present_pnl))
            with Vertical(id="main"):
                yield self._pane("chart", chart())
                with Horizontal(id="lower"):
                    with Vertical(id="centre"):
                        yield self._pane("essentials", panel("essentials", present_essentials))
                        yield self._pane("proposal", panel("proposal", present_proposal), rows=True)
                        yield self._pane("fills", panel("fills", present_fills), rows=True)
                    with Vertical(id="right"):
                        yield self._pane("signals", panel("signals", present_signals))
                        yield self._pane("agent", panel("agent", present_agent))
                        yield self._pane("notices", panel("notices", present_notices))
        yield self._pane("status", row(status_line))
        yield self._pane("footer", row(footer_line))

    def _pane(self, name: str, presenter: Presenter, *, rows: bool = False) -> Pane:
        pane = Pane(name, presenter, self._role_styles, ascii_only=self._ascii_only, focusable=rows)
        self._panes[name] = pane
        return pane

    def on_mount(self) -> None:
        """Start with the proposal: the thing that cannot wait."""
        self._panes["proposal"].focus()

    def show_panes(self, scene: Scene) -> None:
        """Draw the panes that may be paused."""
        for name in PANES:
            self._panes[name].show(scene)

    def show_chrome(self, scene: Scene) -> None:
        """Draw the lines that never pause."""
        for name in CHROME:
            self._panes[name].show(scene)

    @property
    def _desk(self) -> TapewrightApp:
        return cast("TapewrightApp", self.app)

    def on_pane_focused(self, event: Pane.Focused) -> None:
        """Note which pane the arrows move in."""
        self._desk.focus_on(event.pane)

    def action_confirm(self) -> None:
        """Key y."""
        self._desk.answer(yes=True)

    def action_reject(self) -> None:
        """Key n."""
        self._desk.answer(yes=False)

    def action_close_trade(self) -> None:
        """Key k."""
        self._desk.close_trade()

    def action_cancel_order(self) -> None:
        """Key c."""
        self._desk.cancel_order()

    def action_set_stop(self) -> None:
        """Key s."""
        self._desk.ask_exit(ExitKind.STOP)

    def action_set_target(self) -> None:
        """Key t."""
        self._desk.ask_exit(ExitKind.TARGET)

    def action_set_time(self) -> None:
        """Key e."""
        self._desk.ask_exit(ExitKind.TIME)

    def action_reduce(self) -> None:
        """Key h."""
        self._desk.reduce()

    def action_reverse(self) -> None:
        """Key v."""
        self._desk.ask_reverse()

    def action_flatten_all(self) -> None:
        """Key x."""
        self._desk.ask_flatten()

    def action_halt_instrument(self) -> None:
        """Key K."""
        self._desk.halt_instrument()

    def action_halt_strategy(self) -> None:
        """Key S."""
        self._desk.halt_strategy()

    def action_rearm(self) -> None:
        """Key r."""
        self._desk.ask_rearm()

    def action_difference(self) -> None:
        """Key d."""
        self._desk.ask_difference()

    def action_mode(self) -> None:
        """Key m."""
        self._desk.ask_mode()

    def action_pause(self) -> None:
        """Key space."""
        self._desk.toggle_pause()

    def action_instrument(self, number: int) -> None:
        """Keys 1 to 9."""
        self._desk.select_instrument(number - 1)

    def action_up(self) -> None:
        """Key up."""
        self._desk.move(-1)

    def action_down(self) -> None:
        """Key down."""
        self._desk.move(1)

    def action_focus_last(self) -> None:
        """Key shift+tab."""
        self.focus_previous()

    def action_focus_next(self) -> None:
        """Key tab."""
        self.focus_next()

    def action_detail(self) -> None:
        """Key enter."""
        self._desk.show_fill()

    def action_feeds(self) -> None:
        """Key f."""
        self._desk.show_feeds()

    def action_help(self) -> None:
        """Key ?."""
        self._desk.show_help()


def too_small(scene: Scene, width: int, height: int) -> tuple[Line, ...]:
    """Return the message for a terminal that cannot hold the desk."""
    del scene
    text = (
        f"{width} columns is too small" if width < MIN_WIDTH else "too few rows",
        f"needs {MIN_WIDTH}×{MIN_HEIGHT}",
        "F12 still kills all",
    )
    lines = [(Span(words[:width].center(width), "warn"),) for words in text]
    above = max(0, (height - len(lines)) // 2)
    blank: Line = (Span(" " * width),)
    return (*(blank for _ in range(above)), *lines, *(blank for _ in range(height)))[:height]

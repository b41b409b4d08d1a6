"""Presenters for the panes: they compose panels to size and remember what must hold still."""

from __future__ import annotations

from collections.abc import Callable

from tui.actions import ACTIONS, ActionSpec
from tui.present.chart import Axis, present_chart
from tui.present.ladder import LadderView, present_ladder
from tui.present.line import Line, Panel, Role, Span, compose_panel, cut, line_width
from tui.present.scene import Scene
from tui.widgets.pane import Presenter


def panel(name: str, present: Callable[[Scene, int, int], Panel]) -> Presenter:
    """Return a presenter for a pane with a title line."""

    def lines(scene: Scene, width: int, height: int) -> tuple[Line, ...]:
        shown = present(scene, width, height)
        return compose_panel(shown, width, height, focused=scene.focus == name)

    return lines


def row(present: Callable[[Scene, int], Line]) -> Presenter:
    """Return a presenter for a pane of one line."""

    def lines(scene: Scene, width: int, height: int) -> tuple[Line, ...]:
        blank = cut((), width)
        return (cut(present(scene, width), width), *(blank for _ in range(height - 1)))

    return lines


def ladder() -> Presenter:
    """Return the ladder's presenter; it remembers shape and centre."""
    last = LadderView()

    def lines(scene: Scene, width: int, height: int) -> tuple[Line, ...]:
        nonlocal last
        shown, last = present_ladder(scene, last, width, height)
        return compose_panel(shown, width, height, focused=False)

    return lines


def chart() -> Presenter:
    """Return the chart's presenter; it remembers the axis."""
    last = Axis()

    def lines(scene: Scene, width: int, height: int) -> tuple[Line, ...]:
        nonlocal last
        shown, last = present_chart(scene, last, width, height)
        return compose_panel(shown, width, height, focused=False)

    return lines


def footer_line(scene: Scene, width: int) -> Line:
    """Return the keys, from the registry; what does not fit is in the help sheet.

    Where room is short the first four (answers and kills), help and quit go first.
    """
    groups = [_footer_key(spec, scene) for spec in ACTIONS if spec.in_footer]
    order = [*range(4), len(groups) - 2, len(groups) - 1, *range(4, len(groups) - 2)]
    room, fitting = width, set()
    for index in order:
        room -= line_width(groups[index])
        if room >= 0:
            fitting.add(index)
    return cut([span for i, group in enumerate(groups) if i in fitting for span in group], width)


def _footer_key(spec: ActionSpec, scene: Scene) -> Line:
    label = "resume" if spec.name == "pause" and scene.paused else spec.label
    role: Role = "alarm" if spec.name == "kill_all" else "key"
    return (Span(f" {spec.shown} ", role), Span(f" {label} ", "dim"))

"""A command group that imports the module of a command only when that command is used.

``tapewright --help`` must not pay for numba, polars or the screen: the group knows the names and
one line of help of each lazy command, and nothing else, until it is called.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup
from typing_extensions import override


class LazyCommand(NamedTuple):
    place: str
    """``module:attribute``: a ``typer.Typer`` or a plain function with typer's annotations."""
    help: str
    """One line, shown in the list of commands."""


class ReaderGone(Exception):
    """Whoever read our output closed the pipe; not an error."""


class LazyGroup(TyperGroup):
    """Subclass it and name the lazy commands; typer's types are private, hence ``Any``."""

    lazy: ClassVar[dict[str, LazyCommand]] = {}
    order: ClassVar[tuple[str, ...]] = ()
    """Names in the order of the help; others follow."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        known = [*super().list_commands(ctx), *self.lazy]
        last = len(self.order)
        return sorted(
            known, key=lambda name: self.order.index(name) if name in self.order else last
        )

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.lazy and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name, self.lazy[cmd_name].place)
        return super().get_command(ctx, cmd_name)

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.list_commands(ctx):
            # Typer would suggest from the commands loaded so far, which are not all.
            ctx.fail(f"no command {args[0]!r}; there are: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [
            (name, self.lazy[name].help if name in self.lazy else _short_help(self.commands[name]))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    @override
    def make_context(self, *args: Any, **named: Any) -> Any:
        with _readers_may_go():
            return super().make_context(*args, **named)

    @override
    def invoke(self, ctx: Any) -> Any:
        with _readers_may_go():
            return super().invoke(ctx)


@contextlib.contextmanager
def _readers_may_go() -> Iterator[None]:
    """Typer would exit with 1 for a reader that has seen enough; let it be told apart."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


def _short_help(command: Any) -> str:
    text: str = command.get_short_help_str(70)
    return text


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found: typer.Typer | Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(found)
        command = typer.main.get_command(single)
    command.name = name
    return command

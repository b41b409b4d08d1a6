"""``tapewright tape``: what the tapes hold, whether they are whole, and the way out of them.

Nothing here changes a tape, so it may be read while its run writes it. stdout is data, stderr is
narration. Damage is an exit code: 1 of ``show``, 2 of ``export``, which refuses it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.exit import DONE, FAILED, plain, tell
from core.clock import iso_ns
from core.errors import UserError
from core.state import StateDir, resolve_state_dir
from core.tape.format import SUFFIX, TapeError, TapeInfo
from core.tape.reader import TapeReader, tape_files

if TYPE_CHECKING:
    from core.tape.export import Wanted

tape_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, check and export the tapes of runs. Example: tapewright tape list",
)

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN|FILE", help="A run as `tape list` names it, or a tape file.")
]


class FileFormat(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class _Seen(msgspec.Struct):
    """What reading one file showed."""

    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    damage: list[str] = []
    is_cut: bool = False
    is_closed: bool = False


@tape_app.command("list")
def list_runs(*, state: State = None) -> None:
    """Print one line a run: its name, files and bytes, the oldest first.

    Example: tapewright tape list
    """
    folder = StateDir(resolve_state_dir(state)).tapes
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        runs.setdefault(path.name.removesuffix(SUFFIX).rpartition("-")[0], []).append(path)
    if not runs:
        tell(f"no tapes in {folder}")
    for name, paths in runs.items():
        n_bytes = sum(path.stat().st_size for path in paths)
        print(plain(f"{name}  {len(paths)} file(s)  {_size(n_bytes)}"))


@tape_app.command()
def show(*, run: Run, state: State = None) -> None:
    """Read a tape from end to end and print what it holds; exits with 1 when it is damaged.

    A cut last chunk is what a crash leaves, or a run that still writes; it is no damage.

    Example: tapewright tape show binance-2026-03-01T120000-000Z
    """
    paths = _paths_of(run, state)
    is_damaged = False
    for path in paths:
        seen, info = _read(path)
        is_damaged |= bool(seen.damage)
        for line in _lines(path, info, seen):
            print(plain(line))
    missing = _missing_chunks(paths)
    if missing:
        print(plain(missing))
    raise typer.Exit(FAILED if is_damaged else DONE)


@tape_app.command()
def export(
    *,
    run: Run,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to.")],
    file_format: Annotated[
        FileFormat | None,
        typer.Option("--format", help="How to write it (default: by the end of FILE's name)."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Received from this ISO time on (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Received before this ISO time.")
    ] = None,
    instrument: Annotated[
        str, typer.Option(metavar="NAME", help="Only this instrument (default: all).")
    ] = "",
    skip_damage: Annotated[
        bool, typer.Option("--skip-damage", help="Leave damaged chunks out instead of refusing.")
    ] = False,
    state: State = None,
) -> None:
    """Write a run's MarketState rows as Parquet, CSV or JSON Lines, bit for bit.

    An existing file is replaced as a whole, when everything has been read.

    Example: tapewright tape export binance-2026-03-01T120000-000Z --out day.parquet
    """
    from core.tape.export import export as write

    chosen = file_format.value if file_format is not None else _format_of(out)
    told: list[str] = []
    count = write(
        _paths_of(run, state),
        out,
        chosen,
        _wanted(since, until, instrument),
        told.append if skip_damage else None,
    )
    for line in told:
        tell(f"left out: {line}")
    tell(f"{count} rows written to {out} as {chosen}")
    raise typer.Exit(FAILED if told else DONE)


def _wanted(since: str | None, until: str | None, instrument: str) -> Wanted:
    from core.feeds.times import rfc3339_ns
    from core.tape.export import Wanted
    from ledger.export.tables import parse_time

    wanted = Wanted(instrument=instrument)
    if since is not None:
        wanted = msgspec.structs.replace(wanted, since_ns=rfc3339_ns(parse_time(since, "--since")))
    if until is not None:
        wanted = msgspec.structs.replace(wanted, until_ns=rfc3339_ns(parse_time(until, "--until")))
    return wanted


def _format_of(out: Path) -> str:
    found = out.suffix.removeprefix(".").lower()
    if found not in set(FileFormat):
        raise UserError(
            f"{out}: the end of the name says no format; end it with .parquet, .csv or .jsonl, "
            "or give --format"
        )
    return found


def _paths_of(run: str, state: Path | None) -> list[Path]:
    """Return the files of a run, or the one file named. Errors: ``TapeError`` for neither."""
    if Path(run).is_file():
        return [Path(run)]
    folder = StateDir(resolve_state_dir(state)).tapes
    paths = [] if set(run) & set("/*?[") else tape_files(folder, run)
    if not paths:
        raise TapeError(f"{run}: neither a file nor a run in {folder}; see: tapewright tape list")
    return paths


def _read(path: Path) -> tuple[_Seen, TapeInfo]:
    reader, seen = TapeReader(path), _Seen()
    for rows in reader.chunks(seen.damage.append):
        received = rows["ts_recv_ns"]
        seen.first_ns = seen.first_ns or int(received[0])
        seen.last_ns = int(received[-1])
        seen.rows += len(rows)
    seen.is_cut, seen.is_closed = reader.is_cut, reader.is_closed
    return seen, reader.info


def _lines(path: Path, info: TapeInfo, seen: _Seen) -> list[str]:
    n_bytes = path.stat().st_size
    each = f", {n_bytes / seen.rows:.1f} bytes a row" if seen.rows else ""
    end = (
        "closed in order" if seen.is_closed
        else "cut in its last chunk" if seen.is_cut
        else "not closed: its run ended without a word, or still writes"
    )  # fmt: skip
    span = f"{iso_ns(seen.first_ns)} to {iso_ns(seen.last_ns)}" if seen.rows else "no rows"
    lines = [
        f"{path.name}",
        f"  run          {info.run_id}",
        *(
            f"  instrument   {one.venue} {one.name}  tick {one.tick_size}  lot {one.lot_size}"
            for one in info.instruments
        ),
        f"  rows         {seen.rows} in {_size(n_bytes)}{each}",
        f"  received     {span}",
        f"  end          {end}",
    ]
    return lines + [f"  DAMAGED      {line}" for line in seen.damage]


def _missing_chunks(paths: list[Path]) -> str:
    """Return a line where the first file of the run is gone, as the disk bound takes it."""
    first = TapeReader(paths[0]).info.first_chunk
    return f"{first} chunk(s) before {paths[0].name} are gone" if first else ""


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes} bytes"

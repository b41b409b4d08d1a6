"""Several files side by side: one process each, as many at a time as asked for."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from cli.backtest_file import FileJob, run_file
from core.backtest_report import BadFile, FileReport

LOOK_S = 0.2
"""How often the parent looks at how far its children are."""

Show = Callable[[int, int, int], None]
"""Takes the place of a file, the number of its records done and of the bytes they lie in."""

_counts: Any = None
"""In a child: records and bytes done of each file, shared with the parent."""


def run_files(jobs: Sequence[FileJob], processes: int) -> list[FileReport | BadFile]:
    """Run all files, at most ``processes`` at a time; return what came of them, in order."""
    with _progress([job.path for job in jobs]) as show:
        if min(processes, len(jobs)) <= 1:
            return [run_file(job, partial(show, job.place)) for job in jobs]
        return _side_by_side(jobs, min(processes, len(jobs)), show)


def _side_by_side(
    jobs: Sequence[FileJob], processes: int, show: Show
) -> list[FileReport | BadFile]:
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 2 * len(jobs), lock=False)
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin_child, initargs=(counts,)
    )
    try:
        with _interrupts_held_back():
            futures = [pool.submit(_run_in_child, job) for job in jobs]
        pending: set[Future[FileReport | BadFile]] = set(futures)
        while pending:
            _, pending = wait(pending, LOOK_S, FIRST_COMPLETED)
            for place in range(len(jobs)):
                show(place, *counts[2 * place : 2 * place + 2])
        return [_outcome(job, future) for job, future in zip(jobs, futures, strict=True)]
    except BaseException:
        # An interrupt: nobody waits for results that nobody will read.
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(job: FileJob, future: Future[FileReport | BadFile]) -> FileReport | BadFile:
    try:
        return future.result()
    except BrokenProcessPool:
        return BadFile(job.path.name, f"{job.path}: the process that ran it was killed")


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start children that never see Ctrl-C: it reaches the whole group, and the parent answers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_child(counts: Any) -> None:
    global _counts  # noqa: PLW0603 (a process of the pool has one life and one array)
    _counts = counts
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this process when its parent is gone: a killed parent could not end it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_in_child(job: FileJob) -> FileReport | BadFile:
    def tell(records: int, size_bytes: int) -> None:
        _counts[2 * job.place : 2 * job.place + 2] = [records, size_bytes]

    return run_file(job, tell)


@contextlib.contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Show]:
    """Show a bar a file on a terminal's stderr, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _place, _records, _bytes: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from cli.exit import plain

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        tasks = [
            bars.add_task(escape(plain(path.name)), total=_size_bytes(path), records=0)
            for path in paths
        ]
        yield lambda place, records, size_bytes: bars.update(
            tasks[place], completed=size_bytes, records=records
        )


def _size_bytes(path: Path) -> int | None:
    """Return the size of a file; None, for a bar that only moves, if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None

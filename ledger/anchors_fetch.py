"""Asking authorities and calendars, in a process of its own: the engine never waits for them.

Reads a job on standard input, asks each outsider once, keeps the answers that hold, writes the
outcomes on standard output and ends; its parent journals them. Only digests leave. Every wait has
an end: a time for each answer, and an alarm for the process.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from core.config import AnchorSettings
from core.errors import TapewrightError, ValueRefused
from core.feeds.products import is_loopback
from core.model.event import Anchored, AnchorFailed
from ledger import anchors_ots as ots
from ledger import anchors_rfc3161 as rfc3161
from ledger.anchors import (
    FOLDER,
    OTS,
    PROCESS_S_MAX,
    RFC3161,
    ROOTS_SUFFIX,
    SUFFIXES,
    Job,
    Outcome,
    keep,
    read_task,
)
from ledger.coverage import Stored

PENDING_MAX = 50
"""Promises asked about at a time, newest first; a calendar that lost one is not asked for ever."""
ANSWER_BYTES_MAX = 65_536
_NONCE_BYTES = 16
_NICENESS = 15
_OTS_TYPE = "application/vnd.opentimestamps.v1"
_CALENDARS = re.compile(
    r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.calendar\.(opentimestamps\.org|eternitywall\.com|catallaxy\.com)"
)
"""Public calendars that a pool passes a digest on to. A proof may name any address; no other than
these and the user's own is asked. Source: python-opentimestamps 0.4.5, ``calendar.py``."""


def work(job: Job) -> list[Outcome]:
    """Do a job. Errors: ``UserError`` without that checkpoint, ``Failed`` for a spoilt ledger."""
    state_dir = Path(job.state_dir)
    task = read_task(state_dir, job.size, PENDING_MAX)
    settings, found = job.settings, list[Outcome]()
    for anchored, proof in task.pending:
        found += _upgraded(state_dir, anchored, proof, settings)
    (state_dir / FOLDER).mkdir(mode=0o700, exist_ok=True)  # from now on ``status`` tells of anchors
    if task.checkpoint is None or job.upgrades_only:
        return found
    skipped = task.anchored if job.is_scheduled else frozenset()
    if settings.rfc3161_url and RFC3161 not in skipped:
        found.append(_stamped(state_dir, task.checkpoint, settings))
    if settings.ots_calendars and OTS not in skipped:
        found += _submitted(state_dir, task.checkpoint, settings)
    return found


def _stamped(state_dir: Path, checkpoint: Stored, settings: AnchorSettings) -> Outcome:
    note, url = checkpoint.note.encode(), settings.rfc3161_url
    digest = hashlib.sha256(note).digest()
    try:
        roots = rfc3161.read_roots(Path(settings.rfc3161_ca))
        query = rfc3161.query_for(note)
        answer = _ask(url, settings.timeout_s, query.data, {"Content-Type": rfc3161.CONTENT_TYPE})
        token = rfc3161.check(answer, digest, roots, query.nonce)
    except (TapewrightError, httpx.HTTPError, httpx.InvalidURL) as error:
        return AnchorFailed(RFC3161, checkpoint.seq, url, _words(error))
    kept = keep(state_dir, answer, SUFFIXES[RFC3161])
    return Anchored(
        RFC3161, checkpoint.seq, digest.hex(), url, kept, len(answer), at=token.at,
        roots=keep(state_dir, roots, ROOTS_SUFFIX),
    )  # fmt: skip


def _submitted(state_dir: Path, checkpoint: Stored, settings: AnchorSettings) -> Iterator[Outcome]:
    """Submit to every calendar; those that answer are joined in one proof."""
    digest = hashlib.sha256(checkpoint.note.encode()).digest()
    root, tip = ots.begin(digest, secrets.token_bytes(_NONCE_BYTES))
    kept = []
    for url in settings.ots_calendars:
        try:
            answer = _ask(
                f"{url.rstrip('/')}/digest", settings.timeout_s, tip.message, {"Accept": _OTS_TYPE}
            )
            tip.join(ots.parse_answer(answer, tip.message))
        except (ValueRefused, httpx.HTTPError, httpx.InvalidURL) as error:
            yield AnchorFailed(OTS, checkpoint.seq, url, _words(error))
        else:
            kept.append(url)
    if kept:
        yield _kept_proof(state_dir, root, checkpoint.seq, " ".join(kept))


def _kept_proof(state_dir: Path, root: ots.Stamp, size: int, source: str) -> Anchored:
    proof = ots.file_of(root)
    return Anchored(
        OTS, size, root.message.hex(), source, keep(state_dir, proof, SUFFIXES[OTS]), len(proof),
        is_pending=all(each.block is None for _, each in root.walk()),
    )  # fmt: skip


def _upgraded(
    state_dir: Path, anchored: Anchored, proof: bytes, settings: AnchorSettings
) -> Iterator[Outcome]:
    """Ask the calendars that promised; a proof that leads to a block now is an outcome."""
    root = ots.parse_file(proof)
    is_complete = False
    for stamp, attested in list(root.walk()):
        url = attested.calendar
        if not (url in settings.ots_calendars or _CALENDARS.fullmatch(url)):
            continue
        place = f"{url.rstrip('/')}/timestamp/{stamp.message.hex()}"
        try:
            answer = _ask(place, settings.timeout_s, None, {"Accept": _OTS_TYPE})
            more = ots.parse_answer(answer, stamp.message)
            stamp.join(more)
        except _NotYetError:
            continue
        except (ValueRefused, httpx.HTTPError, httpx.InvalidURL) as error:
            yield AnchorFailed(OTS, anchored.size, url, _words(error))
        else:
            is_complete |= any(each.block is not None for _, each in more.walk())
    if is_complete:
        yield _kept_proof(state_dir, root, anchored.size, anchored.source)


class _NotYetError(ValueRefused):
    """The calendar has no block yet."""


def _ask(url: str, timeout_s: int, body: bytes | None, headers: dict[str, str]) -> bytes:
    """Return the body of the answer, which comes in time and is no larger than allowed.

    Errors: ``httpx.HTTPError`` for the network, ``ValueRefused`` for a refusal, ``_NotYetError``
    for a 404 to a question without a body.
    """
    give_up_s = time.monotonic() + timeout_s
    data = b""
    with _client(url, timeout_s) as client:
        way = "GET" if body is None else "POST"
        with client.stream(way, url, content=body, headers=headers) as reply:
            if body is None and reply.status_code == httpx.codes.NOT_FOUND:
                raise _NotYetError("no block yet")
            if reply.status_code != httpx.codes.OK:
                raise ValueRefused(f"it answered HTTP {reply.status_code}")
            for chunk in reply.iter_bytes():
                data += chunk
                if len(data) > ANSWER_BYTES_MAX:
                    raise ValueRefused(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
                if time.monotonic() > give_up_s:
                    raise ValueRefused(f"its answer was not there after {timeout_s} s")
    return data


@contextmanager
def _client(url: str, timeout_s: int) -> Iterator[httpx.Client]:
    has_proxy = not is_loopback(url)
    with httpx.Client(timeout=timeout_s, trust_env=has_proxy, follow_redirects=False) as client:
        yield client


def _words(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    return f"{error}"[:300] or type(error).__name__


def main() -> int:
    """Do the job on standard input; what is wrong with it goes to standard error."""
    os.nice(_NICENESS)
    signal.alarm(PROCESS_S_MAX)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        found = work(job)
    except TapewrightError as error:
        sys.stderr.write(str(error))
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The report: what a person reads first, as a PDF. Every chapter says where its numbers are.

Nothing is concluded here that the events do not hold; what was not recorded is called so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ledger.binder import chapters, findings
from ledger.binder.contents import Contents
from ledger.binder.gather import Gathering
from ledger.binder.paper import SOFT, Column, Paper

PROVES = (
    "The events in events.jsonl are exactly those over which the key named on the cover signed "
    "its checkpoints: none was changed, added, left out, moved or doubled inside the range.",
    "Every event names the hash of the one before; the Merkle root of all of them is signed "
    "(RFC 9162, Ed25519). Single fills can be shown to others with a short proof of their own.",
    "In the chain, the decision, its answer, the verdict of every limit and the intent of an order "
    "stand before the first word of the venue about it.",
    "The spreadsheet of fills has the numbers of the events; the lots and the tax files were made "
    "from them and add up to them.",
    "The weights of the models are those whose digest the runs wrote down when they started.",
)
PROVES_NOT = (
    "That nobody with the key rewrote everything before this binder was made. Whoever holds an "
    "older checkpoint can tell: python3 verify.py --against FILE.",
    "That the times are true. They are this machine's clock; the chapter on the clock says what "
    "the machine knew about it. Order is proven, the hour is claimed. Where somebody outside "
    "attested a checkpoint, all before it is at least as old as that: see the chapter on keys.",
    "That market data was what others saw. It is what this machine received.",
    "That all trading is in here. It shows this ledger, not what was done elsewhere.",
    "Compliance with any rule. The records are modelled on RTS 24, RTS 6 and SEC 17a-4 where they "
    "make sense for one person.",
)


def report(contents: Contents) -> bytes:
    """Return the PDF; equal contents give equal bytes."""
    cover = contents.cover
    made = datetime.fromisoformat(cover.last_ts[:19]).replace(tzinfo=UTC)
    paper = Paper(
        f"Evidence binder {cover.span}", cover.span, f"key {_spaced(cover.fingerprint)}", made
    )
    paper.add_page()
    _cover(paper, contents)
    for title, chapter in _CHAPTERS:
        paper.chapter(title)
        chapter(paper, contents)
    return bytes(paper.output())


def _cover(paper: Paper, contents: Contents) -> None:
    cover, gathered, traded = contents.cover, contents.gathered, contents.traded
    paper.headline("Evidence binder", f"Tapewright {cover.program}, {cover.span} (UTC)")
    paper.verdict(
        "THE LEDGER HOLDS",
        f"{cover.verdict}; {cover.signed}. This is the finding of the program that made the "
        "binder; do not take its word: run python3 verify.py, which needs neither it nor a "
        "network.",
        is_good=True,
    )
    brokers = sorted({str(run.started["broker"]) for run in gathered.runs.values()})
    paper.facts(
        [
            ("Key fingerprint", _spaced(cover.fingerprint)),
            ("Asked for", f"{cover.since or 'the first event'} up to {_until(cover.until)}"),
            ("First event", f"seq {cover.first:,}, {cover.first_ts}"),
            ("Last event", f"seq {cover.last:,}, {cover.last_ts}"),
            ("Checkpoint", f"over seq 1 to {cover.size:,}, with the root"),
            ("", cover.root),
            ("Runs", f"{len(gathered.runs)}, broker {', '.join(brokers) or 'none'}"),
        ]
    )
    kinds, counts = gathered.types, traded.sums.values()
    paper.grid(
        [Column("In this binder", 60), Column("Count", 20, True), Column("Where", 60)],
        [
            ("Events", f"{sum(kinds.values()):,}", "events.jsonl"),
            ("Decision points recorded", f"{gathered.points:,}", "payloads/"),
            *_removed(gathered),
            ("Proposals", f"{kinds['DECISION']:,}", "decisions.csv"),
            ("Orders intended", f"{kinds['ORDER_INTENT']:,}", "orders_rts24.csv"),
            ("Orders refused by gate or venue", f"{traded.blocked_count:,}", "orders.csv"),
            ("Fills", f"{sum(each.fills for each in counts):,}", "trades.csv"),
            ("Kills", f"{kinds['KILL']:,}", "chapter Incidents"),
            ("Checkpoints in the range and around", f"{_notes(contents):,}", "checkpoints.txt"),
        ],
    )
    if set(brokers) <= {"paper", "sim", "delayed"}:
        paper.words(
            "All trading in this binder was paper or simulated. No money was traded.", color=SOFT
        )
    paper.words(
        "Compare the fingerprint with one that you got another way: from the screen at start, from "
        "a checkpoint kept elsewhere, or from its owner.",
        color=SOFT,
    )


def _until(until: str) -> str:
    return "the last event" if until == "~" else f"{until}, not including"


def _removed(gathered: Gathering) -> list[tuple[str, str, str]]:
    gone = len(gathered.payloads_removed)
    row = ("Files of them removed by a rule on disk space", f"{gone:,}", "payloads_removed.jsonl")
    return [row] if gone else []


def _notes(contents: Contents) -> int:
    return next((size for name, size, _ in contents.files if name == "#checkpoints"), 0)


def _proves(paper: Paper, contents: Contents) -> None:
    del contents
    paper.heading("It proves")
    paper.points(PROVES)
    paper.heading("It does not prove")
    paper.points(PROVES_NOT)


def _spaced(fingerprint: str) -> str:
    return " ".join(fingerprint[place : place + 4] for place in range(0, len(fingerprint), 4))


_CHAPTERS: tuple[tuple[str, Callable[[Paper, Contents], None]], ...] = (
    ("What this proves, and what not", _proves),
    ("Runs", chapters.runs),
    ("Limits in force", chapters.limits),
    ("Trading in sum", chapters.summary),
    ("How well orders were filled", chapters.quality),
    ("Trades and their reasons", chapters.trades),
    ("Blocked orders and trades not made", chapters.blocked),
    ("Incidents", findings.incidents),
    ("Clock", findings.clock),
    ("Keys, and who else attests this", findings.witnesses),
    ("Reconciliation", findings.accounts),
    ("Models and data", findings.models),
    ("Tax summary", findings.tax),
    ("Appendix", findings.appendix),
)

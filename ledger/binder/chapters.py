"""Chapters of the report on what was traded, what was not, and within which limits."""

from __future__ import annotations

from typing import Any

from ledger.binder.contents import Contents
from ledger.binder.gather import Run
from ledger.binder.paper import BAD, SOFT, Column, Paper
from ledger.binder.tables import TRADES_MAX, money, short

_SECTIONS = ("risk", "slippage")
"""Sections of the configuration that hold limits."""


def runs(paper: Paper, contents: Contents) -> None:
    paper.words("A run is one life of the engine. Everything that fixes its behaviour is in runs/.")
    rows = [
        (
            f"{run.seq}", run.ts[:19].replace("T", " "), _ended(run), run.started["venue"],
            f"{run.started['mode']}, {run.started['broker']}", str(run.started["seed"]),
            run.started["source"].removeprefix("sha256:")[:12], run.started["code_digest"][:12],
        )
        for run in contents.gathered.runs.values()
    ]  # fmt: skip
    paper.grid(
        [
            Column("Seq", 14, True), Column("Started", 22), Column("Ended", 28),
            Column("Venue", 22), Column("Mode, broker", 24), Column("Seed", 12, True),
            Column("Source", 27), Column("Code", 27),
        ],
        rows,
    )  # fmt: skip


def _ended(run: Run) -> str:
    if not run.ended_ts:
        return "no end in range"
    return f"{run.ended_ts[:19].replace('T', ' ')} ({run.reason})"


def limits(paper: Paper, contents: Contents) -> None:
    paper.words(
        "The gate refuses what is beyond a limit; no dialog overrides it. These were in force, one "
        "block for each set of limits that a run began with."
    )
    seen: dict[str, list[Run]] = {}
    for run in contents.gathered.runs.values():
        seen.setdefault(run.started["limits_digest"], []).append(run)
    for digest, runs in seen.items():
        paper.heading(f"Limits {digest[:16]}, {len(runs)} run{'s' if len(runs) > 1 else ''}")
        settings = runs[0].started["settings"]
        rows = [
            row for name in _SECTIONS if name in settings for row in _flat(settings[name], name)
        ]
        if rows:
            paper.grid([Column("Limit", 60), Column("Value", 100)], rows)
        else:
            paper.words("The run did not write down its limits, only their digest.", color=BAD)


def _flat(tree: Any, place: str = "") -> list[tuple[str, str]]:
    if not isinstance(tree, dict):
        text = "on" if tree is True else "off" if tree is False else str(tree)
        return [(place, ", ".join(map(str, tree)) if isinstance(tree, list) else text)]
    return [
        row
        for name in sorted(tree)
        for row in _flat(tree[name], f"{place}.{name}" if place else name)
    ]


def summary(paper: Paper, contents: Contents) -> None:
    traded = contents.traded
    if not traded.sums:
        paper.words("Nothing was filled in this time.")
        return
    rows = [
        (
            name, venue, f"{sums.fills:,}", short(sums.bought), short(sums.sold),
            money(sums.notional),
            ", ".join(f"{money(fee)} {name_}" for name_, fee in sorted(sums.fees.items())),
            money(sums.realized),
        )
        for (venue, name), sums in sorted(traded.sums.items())
    ]  # fmt: skip
    paper.grid(
        [
            Column("Instrument", 26), Column("Venue", 22), Column("Fills", 14, True),
            Column("Bought", 24, True), Column("Sold", 24, True), Column("Notional", 28, True),
            Column("Fees", 28, True), Column("Realized", 24, True),
        ],
        rows,
    )  # fmt: skip
    if traded.is_one_currency:
        paper.chart(traded.curve, below="Realized P&L, fees of both legs included, fill by fill")
    else:
        paper.words("No curve: the instruments have several quote currencies.", color=SOFT)


def quality(paper: Paper, contents: Contents) -> None:
    quality = contents.gathered.quality
    paper.words(
        "Slippage is the average price of an order against the mid when it left, in bps, positive "
        "is worse; expected is what the book showed then. A markout is the move of the mid after a "
        "fill, positive is for us."
    )
    if not quality:
        paper.words("Neither was measured by the runs of this range.")
        return
    horizons = sorted({horizon for each in quality.values() for horizon in each.markouts})
    paper.grid(
        [
            Column("Instrument", 28), Column("Orders", 16, True), Column("Expected", 24, True),
            Column("Realized", 24, True), Column("Bad", 12, True),
            *(Column(f"Markout {horizon} s", 34, True) for horizon in horizons),
        ],
        [
            (
                name, f"{each.realized.count:,}", each.expected.text, each.realized.text,
                f"{each.bad:,}",
                *(each.markouts[h].text if h in each.markouts else "-" for h in horizons),
            )
            for name, each in sorted(quality.items())
        ],
    )  # fmt: skip


def trades(paper: Paper, contents: Contents) -> None:
    traded = contents.traded
    if not traded.trades:
        paper.words("No order was filled in this time.")
        return
    paper.words(
        "One row an order that was filled; below it the reason as it was shown and written down at "
        "the time. Slippage is the average price against the mid at the decision, positive is "
        "worse. tapewright ledger explain SEQ tells the whole story."
    )
    rows = []
    for trade in traded.trades:
        slippage = "-" if trade.slippage_bps is None else f"{trade.slippage_bps:.2f}"
        view = "" if not trade.p_up or "P(up)" in trade.rationale else f"P(up) {trade.p_up}. "
        rows.append(
            (
                f"{trade.seq}", trade.ts[:19].replace("T", " "), f"{trade.side} {trade.instrument}",
                short(trade.quantity), short(trade.price), slippage, money(trade.fees, digits=4),
                money(trade.realized, digits=4), trade.answer, view + trade.rationale,
            )
        )  # fmt: skip
    paper.grid(
        [
            Column("Seq", 14, True), Column("Time (UTC)", 20), Column("Trade", 22),
            Column("Quantity", 20, True), Column("Price", 23, True), Column("Slip, bps", 15, True),
            Column("Fee", 16, True), Column("Realized", 18, True), Column("Answer", 30),
        ],
        rows,
    )  # fmt: skip
    if traded.trade_count > len(traded.trades):
        paper.words(
            f"The first {TRADES_MAX} of {traded.trade_count:,} orders are told here; all of them "
            "are in trades.csv and decisions.csv.",
            color=SOFT,
        )


def blocked(paper: Paper, contents: Contents) -> None:
    gathered, traded = contents.gathered, contents.traded
    paper.heading("Orders that the gate or the venue refused")
    if traded.blocked:
        paper.grid(
            [
                Column("Seq", 14, True), Column("Time (UTC)", 30), Column("Order", 30),
                Column("Quantity", 22, True), Column("Limit price", 24, True),
                Column("Status", 20), Column("Reason", 44),
            ],
            [
                (
                    f"{each.seq}", each.ts[:19].replace("T", " "),
                    f"{each.side} {each.instrument}", each.quantity, each.limit_price,
                    each.status, each.reason,
                )
                for each in traded.blocked
            ],
        )  # fmt: skip
        rest(paper, traded.blocked_count, len(traded.blocked), "orders.csv")
    else:
        paper.words("None.")
    paper.heading("Proposals and how they ended")
    paper.grid(
        [Column("Verdict", 60), Column("Proposals", 30, True)],
        [(verdict, f"{count:,}") for verdict, count in traded.unanswered],
        width=0.5,
    ) if traded.unanswered else paper.words("No proposal was made.")
    paper.heading("Signals that a rule stopped before a proposal")
    if gathered.not_traded:
        paper.words("Written when the reason changes; numbers in a reason are shown as #.")
        paper.grid(
            [Column("Instrument", 30), Column("Times", 20, True), Column("Reason", 100)],
            [
                (name, f"{count:,}", reason)
                for (name, reason), count in sorted(
                    gathered.not_traded.items(), key=lambda item: (-item[1], item[0])
                )[:60]
            ],
        )
    else:
        paper.words("None.")


def rest(paper: Paper, count: int, told: int, place: str) -> None:
    if count > told:
        paper.words(f"The first {told:,} of {count:,}; all of them are in {place}.", color=SOFT)

"""The simulated venue's wire form: one sequence an instrument, a snapshot on connecting."""

from __future__ import annotations

from core.stub.truth import ASK, BID, Change, Trade
from core.stub.venue import BOOK, SNAPSHOT, Request, Sent, Session, VenueModel, dumps


class SimSession(Session):
    def __init__(self, venue: VenueModel, request: Request) -> None:
        super().__init__(venue, request)
        self._versions: list[dict[int, int]] = [{} for _ in self.books]

    def greeting(self) -> list[Sent]:
        return [self._frame(index, "snapshot", [], []) for index in range(len(self.books))]

    def flush(self) -> list[Sent]:
        out = []
        for index in range(len(self.books)):
            step = self.take(index)
            if step.changes:
                out.append(self._frame(index, "update", step.changes, step.trades))
        return out

    def version_at(self, number: int, index: int) -> int | None:
        return self._versions[index].get(number)

    def _frame(self, index: int, kind: str, changes: list[Change], trades: list[Trade]) -> Sent:
        book = self.books[index]
        rows: list[list[tuple[str, str]]] = [[], []]
        if kind == "snapshot":
            rows = [book.rows(side) for side in (BID, ASK)]
        for each in changes:
            rows[each.side].append((book.price_text(each.ticks), book.qty_text(each.lots)))
        number = len(self._versions[index]) + 1
        self._versions[index][number] = book.version
        prints = [
            (book.price_text(each.ticks), book.qty_text(each.lots),
             "buy" if each.aggressor > 0 else "sell", str(each.trade_id))
            for each in trades
        ]  # fmt: skip
        frame = {"type": kind, "seq": number, "ts": self.venue.now_ns + self.venue.offset_ns,
                 "instrument": self.names[index], "bids": rows[BID], "asks": rows[ASK],
                 "trades": prints}  # fmt: skip
        return Sent(dumps(frame), SNAPSHOT if kind == "snapshot" else BOOK, index)


class SimModel(VenueModel):
    venue = "sim"
    flush_ms = 50

    def session(self, request: Request) -> Session:
        return SimSession(self, request)

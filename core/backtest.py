"""The collector of a backtest: sees every ledger event and looks at the engine once a second.

It only reads; the run is the one that ``replay`` does, to the last hash of the ledger. No I/O.
"""

from __future__ import annotations

from collections import Counter

from core.attribution import entry_parts
from core.backtest_report import Feed, FileReport, Head, Reason, Skill
from core.blend import Blend
from core.brokers.fees import rates_of
from core.clock import NS_PER_S, iso_ns
from core.engine import Engine
from core.model import event as ev
from core.model.decision import Action, Verdict
from core.model.event import LedgerEvent
from core.model.order import OrderStatus
from core.purse import EntryFacts, Purse

UNFILLED = "unfilled"
"""Code of an order that found nothing within its limit."""


class Collector:
    """Everything a backtest reports of one engine's run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        notional = engine.settings.strategy.order_notional
        quotes = dict.fromkeys(desk.instrument.quote for desk in engine.desks)
        self._purses = [
            Purse(
                quote,
                [desk for desk in engine.desks if desk.instrument.quote == quote],
                engine.fee_bps,
                notional,
            )
            for quote in quotes
        ]
        self._entries: dict[str, dict[str, EntryFacts]] = {}
        """By instrument and decision, of the position open now (and of the exit on its way)."""
        self._seconds: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._best: tuple[float, float] | None = None
        """Edge and cost in bps of the refused trade that came nearest to paying."""
        self._proposals = self._orders = 0
        self._begin_ns = self._second = 0

    # --- in -------------------------------------------------------------------------------------

    def before(self, record_ns: int) -> None:
        """Look at the engine if a record at ``record_ns`` begins a new second; call before it."""
        second = record_ns // NS_PER_S
        if second <= self._second:
            return
        if self._second:
            self._look()
        else:
            self._begin_ns = record_ns
        self._second = second

    def on_event(self, event: LedgerEvent) -> None:
        """Take one event, after the engine has acted on it and written it."""
        match event:
            case ev.Decided():
                self._on_decided(event)
            case ev.NotDecided():
                self._on_not_decided(event)
            case ev.Answered():
                if event.verdict is not Verdict.APPROVED:
                    self._refuse(event.verdict.value, event.note or event.verdict.value)
            case ev.RiskChecked(allowed=False):
                self._refuse(event.code, f"denied by the gate: {event.code}")
            case ev.OrderIntended():
                self._orders += 1
            case ev.OrderChanged():
                self._on_order(event)
            case ev.Filled():
                self._on_fill(event)
            case ev.SlippageMeasured() | ev.MarkedOut():
                self._purse_of(event.instrument).measure(event)
            case _:
                pass

    def _on_decided(self, event: ev.Decided) -> None:
        proposal = event.proposal
        self._proposals += 1
        facts = EntryFacts(proposal.mid2_ticks, entry_parts(proposal.forecast, proposal.side))
        is_held = bool(self._engine.account.position(proposal.instrument))
        # One that adds to a position joins its entries; from a flat one the past is done.
        if proposal.action is not Action.EXIT and not is_held:
            self._entries[proposal.instrument] = {}
        self._entries.setdefault(proposal.instrument, {})[proposal.decision_id] = facts

    def _on_not_decided(self, event: ev.NotDecided) -> None:
        code, _, text = event.reason.partition(": ")
        self._refuse(code, text)
        net = event.edge_bps - event.cost_bps
        if event.cost_bps and (self._best is None or net > self._best[0] - self._best[1]):
            self._best = (event.edge_bps, event.cost_bps)

    def _on_order(self, event: ev.OrderChanged) -> None:
        if event.filled_lots:
            return
        if event.status == OrderStatus.EXPIRED.value:
            self._refuse(UNFILLED, event.reason)
        elif event.status in {OrderStatus.REJECTED.value, OrderStatus.DENIED.value}:
            self._refuse(event.status.lower(), event.reason)

    def _on_fill(self, event: ev.Filled) -> None:
        name = event.fill.instrument
        purse = self._purse_of(name)
        purse.take(event, self._entries.get(name, {}).get(event.decision_id))
        purse.sample(self._engine.context.now_ns)

    def _purse_of(self, name: str) -> Purse:
        return next(purse for purse in self._purses if purse.has(name))

    def _refuse(self, code: str, text: str) -> None:
        self._refused[code] += 1
        self._examples[code] = text

    def _look(self) -> None:
        for purse in self._purses:
            purse.sample(self._engine.context.now_ns)
        for hold in self._engine.holds.values():
            self._seconds[hold.code] += 1
            if hold.text:
                self._examples[hold.code] = hold.text

    # --- out ------------------------------------------------------------------------------------

    def report(self, name: str, sha256: str, ledger: Head, problem: str = "") -> FileReport:
        """Return what was seen; call once, at the end. ``problem`` is kept as it is."""
        engine = self._engine
        self._look()
        counters = engine.protocol.counters
        rates = rates_of(engine.settings.paper, engine.desks[0].instrument)
        results = tuple(purse.result() for purse in self._purses)
        has_traded = any(result.fills for result in results)
        return FileReport(
            name=name,
            sha256=sha256,
            venue=engine.protocol.venue,
            begin=iso_ns(self._begin_ns) if self._begin_ns else "",
            end=iso_ns(engine.context.now_ns) if self._begin_ns else "",
            fee_bps=engine.fee_bps,
            maker_fee_bps=rates.maker_bps,
            feed=Feed(counters.frames, counters.refused, counters.gaps, counters.resyncs),
            proposals=self._proposals,
            orders=self._orders,
            results=results,
            reasons=self._reasons(),
            skills=self._skills(),
            no_trade="" if has_traded else self._why_no_trade(),
            trips=tuple(trip for purse in self._purses for trip in purse.trips),
            curves={purse.currency: purse.points for purse in self._purses},
            ledger=ledger,
            halted=engine.context.halted,
            problem=problem,
        )

    def _reasons(self) -> tuple[Reason, ...]:
        codes = sorted({*self._seconds, *self._refused})
        rows = [
            Reason(code, self._seconds[code], self._refused[code], self._examples.get(code, ""))
            for code in codes
        ]
        return tuple(sorted(rows, key=lambda row: (-row.seconds, -row.refused, row.code)))

    def _skills(self) -> tuple[Skill, ...]:
        least = self._engine.settings.blend.min_labels
        return tuple(
            _skill(desk.instrument.name, blend, least)
            for desk in self._engine.desks
            for blend in desk.blends
        )

    def _why_no_trade(self) -> str:
        words = []
        looks = self._seconds.total()
        if not looks:
            return "no trade: the book was never believable at the strategy's cadence"
        top = ", ".join(f"{code} {n / looks:.0%}" for code, n in self._seconds.most_common(4))
        words.append(f"no trade: {top} of {looks} looks, one a second")
        if self._refused:
            told = ", ".join(f"{code} {n}x" for code, n in self._refused.most_common(4))
            words.append(f"wanted and refused: {told}")
        if self._best is not None:
            edge, cost = self._best
            words.append(f"nearest: edge {edge:.2f} bps against a cost of {cost:.2f} bps")
        return "; ".join(words)


def _skill(instrument: str, blend: Blend, least_labels: int) -> Skill:
    score, calibration = blend.scorecard, blend.calibration()
    return Skill(
        instrument=instrument,
        horizon_s=blend.horizon_s,
        skill=round(score.skill(), 6) if score.n_labels >= least_labels else None,
        labels=score.n_labels,
        moved_share=round(score.moved_share, 6),
        mean_move_ticks=round(score.mean_move_ticks, 6),
        base_rate=round(blend.base_rate, 6),
        calibration_error=None if calibration is None else round(calibration.expected_error, 6),
        calibration_floor=None if calibration is None else round(calibration.error_floor, 6),
    )

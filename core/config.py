"""Settings: frozen Structs read from TOML; every mistake is found at once, with its remedy.

The Structs below are the truth about keys, types, ranges and defaults; ``config.toml`` at the
root documents them for people, and a test holds the two equal.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from core.errors import ConfigError

MONEY_MAX = Decimal(10**12)
"""A limit of more is a slip of the keyboard."""

_Bps = Annotated[float, Meta(ge=0, le=10_000)]
_Limit = Annotated[float, Meta(gt=0, le=10_000)]
_Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
_Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
_Address = Annotated[str, Meta(pattern=r"^(https?://[A-Za-z0-9._:/-]+)?$")]
_Money = Annotated[Decimal, Meta(description="decimal text above zero")]


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    venue: Literal["sim", "coinbase", "coinbase-exchange", "binance", "alpaca"] = "sim"
    more_venues: tuple[Literal["coinbase", "coinbase-exchange", "binance", "alpaca"], ...] = ()
    symbols: tuple[str, ...] = ()
    mode: Literal["observe", "confirm", "auto"] = "confirm"
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 7
    on_screen_lost: Literal["hold", "cancel", "flatten"] = "hold"


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stale_after_ms: Annotated[int, Meta(ge=250, le=60_000)] = 5_000
    crossed_after_ms: Annotated[int, Meta(ge=50, le=60_000)] = 1_000
    snapshot_levels: Literal[100, 500, 1000, 5000] = 1000
    backoff_first_ms: Annotated[int, Meta(ge=10, le=60_000)] = 500
    backoff_max_ms: Annotated[int, Meta(ge=100, le=600_000)] = 30_000
    renew_after_s: Annotated[int, Meta(ge=1, le=86_400)] = 85_800
    refresh_after_s: Annotated[int, Meta(ge=60, le=86_400)] = 900
    record: bool = True
    record_max_mib: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    binance_stream: str = "wss://data-stream.binance.vision"
    binance_rest: str = "https://data-api.binance.vision"
    coinbase_stream: str = "wss://advanced-trade-ws.coinbase.com"
    coinbase_exchange_stream: str = "wss://ws-feed.exchange.coinbase.com"
    coinbase_exchange_rest: str = "https://api.exchange.coinbase.com"
    alpaca_feed: Literal["iex", "sip", "delayed_sip", "test"] = "iex"
    alpaca_stream: str = "wss://stream.data.alpaca.markets"
    alpaca_rest: str = "https://data.alpaca.markets"
    alpaca_account_rest: str = "https://paper-api.alpaca.markets"


class SimSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instrument: str = "SIM-USD"
    start_price: _Money = Decimal("100.00")
    speed: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    unit_lots: Annotated[int, Meta(ge=100, le=10_000_000)] = 10_000
    history_s: Annotated[int, Meta(ge=0, le=7_200)] = 1_800
    practice: bool = True


class BlendSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prior_variance: Annotated[float, Meta(gt=0, le=10)] = 0.02
    memory_s: Annotated[int, Meta(ge=60, le=864_000)] = 7_200
    min_labels: Annotated[int, Meta(ge=10, le=100_000)] = 100
    skill_window: Annotated[int, Meta(ge=50, le=100_000)] = 600


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    id: str = "ppo-sim"
    cadence_ms: Annotated[int, Meta(ge=100, le=60_000)] = 1_000


class StrategySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cadence_ms: Annotated[int, Meta(ge=20, le=60_000)] = 250
    horizon_s: Literal[1, 5] = 5
    threshold: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    min_edge_bps: Annotated[float, Meta(ge=-10_000, le=10_000)] = 0.0
    min_skill: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    order_notional: _Money = Decimal(1000)
    slippage_bps: _Bps = 3.0
    proposal_life_s: Annotated[float, Meta(ge=0.5, le=600)] = 10.0
    hold_s: Annotated[float, Meta(ge=1, le=86_400)] = 30.0
    cooldown_s: Annotated[float, Meta(ge=0, le=3_600)] = 5.0
    max_entries: Annotated[int, Meta(ge=1, le=100)] = 1


class ExitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exits that every position carries; 0 switches one off."""

    stop_bps: _Bps = 30.0
    take_profit_bps: _Bps = 40.0
    time_stop_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0


class RiskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of the gate. One that is not above zero is no limit, and stops all entries."""

    instruments: tuple[str, ...] = ("*",)
    max_order_qty: _Money = Decimal(1000)
    max_order_notional: _Money = Decimal(2000)
    wild_size_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    max_position_notional: _Money = Decimal(5000)
    max_gross_exposure: _Money = Decimal(10_000)
    max_daily_loss: _Money = Decimal(200)
    max_session_loss: _Money = Decimal(200)
    max_drawdown: _Money = Decimal(200)
    max_consecutive_losses: Annotated[int, Meta(ge=1, le=1_000)] = 20
    loss_pause_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    price_collar_bps: _Limit = 25.0
    last_trade_collar_bps: _Limit = 100.0
    max_spread_bps: _Limit = 100.0
    max_open_orders: Annotated[int, Meta(ge=1, le=64)] = 5
    max_orders_per_second: Annotated[int, Meta(ge=1, le=1_000)] = 5
    max_orders_per_minute: Annotated[int, Meta(ge=1, le=10_000)] = 60
    max_messages_per_second: Annotated[int, Meta(ge=2, le=1_000)] = 20
    max_repeated_fills: Annotated[int, Meta(ge=1, le=1_000)] = 10
    repeated_window_s: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    duplicate_window_ms: Annotated[int, Meta(ge=1, le=600_000)] = 1_000
    max_clock_ahead_ms: Annotated[int, Meta(ge=1, le=600_000)] = 1_000
    max_clock_behind_ms: Annotated[int, Meta(ge=1, le=600_000)] = 5_000
    stock_open: _Clock = "09:30"
    stock_close: _Clock = "16:00"
    stock_early_close: _Clock = "13:00"
    stock_holidays: tuple[_Day, ...] = ()
    stock_early_closes: tuple[_Day, ...] = ()
    kill_flattens: bool = True
    compare_every_s: Annotated[float, Meta(ge=1, le=3_600)] = 10.0

    @property
    def stock_days(self) -> tuple[frozenset[date], frozenset[date]]:
        """Days without a session, and short ones, beside the rules of ``core.nyse``."""
        return _days(self.stock_holidays), _days(self.stock_early_closes)


@cache
def _days(listed: tuple[str, ...]) -> frozenset[date]:
    return frozenset(map(date.fromisoformat, listed))


class SlippageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bad_bps: _Limit = 2.0
    bad_count: Annotated[int, Meta(ge=1, le=100)] = 3
    pause_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0


class PaperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    latency_ms: Annotated[int, Meta(ge=0, le=60_000)] = 20
    report_latency_ms: Annotated[int, Meta(ge=0, le=60_000)] = 20
    self_trade: Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"] = (
        "cancel_newest"
    )
    sim_fee_bps: _Bps = 0.1
    sim_maker_fee_bps: _Bps = 0.1
    binance_fee_bps: _Bps = 10.0
    binance_maker_fee_bps: _Bps = 10.0
    coinbase_fee_bps: _Bps = 60.0
    coinbase_maker_fee_bps: _Bps = 40.0
    alpaca_fee_bps: _Bps = 0.0
    alpaca_maker_fee_bps: _Bps = 0.0
    alpaca_crypto_fee_bps: _Bps = 25.0
    alpaca_crypto_maker_fee_bps: _Bps = 15.0


class WatchdogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    required: bool = True
    stall_ms: Annotated[int, Meta(ge=500, le=60_000)] = 2_000
    answer_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    signal_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    end_after_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    when_engine_dies: Literal["cancel", "halt"] = "cancel"


class TaxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lot_method: Literal["fifo", "lifo", "hifo"] = "fifo"


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tapes_max_mib: Annotated[int, Meta(ge=64, le=10_000_000)] = 2_048
    captures_max_mib: Annotated[int, Meta(ge=64, le=10_000_000)] = 8_192
    payloads_max_mib: Annotated[int, Meta(ge=64, le=10_000_000)] = 8_192


class AnchorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who outside attests checkpoints; with no address nobody does, and nothing leaves."""

    rfc3161_url: _Address = ""
    rfc3161_ca: str = ""
    ots_calendars: tuple[_Address, ...] = ()
    every_s: Annotated[int, Meta(ge=60, le=604_800)] = 86_400
    timeout_s: Annotated[int, Meta(ge=1, le=60)] = 10

    @property
    def is_on(self) -> bool:
        """True where anybody is to be asked."""
        return bool(self.rfc3161_url or self.ots_calendars)


class ScreenSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hz: Annotated[int, Meta(ge=1, le=30)] = 10
    palette: Literal["teal-red", "blue-orange"] = "teal-red"
    glyphs: Literal["blocks", "ascii"] = "blocks"


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration; one field a TOML table."""

    run: RunSettings = RunSettings()
    feed: FeedSettings = FeedSettings()
    sim: SimSettings = SimSettings()
    blend: BlendSettings = BlendSettings()
    agent: AgentSettings = AgentSettings()
    strategy: StrategySettings = StrategySettings()
    exits: ExitSettings = ExitSettings()
    risk: RiskSettings = RiskSettings()
    slippage: SlippageSettings = SlippageSettings()
    paper: PaperSettings = PaperSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    tax: TaxSettings = TaxSettings()
    storage: StorageSettings = StorageSettings()
    anchors: AnchorSettings = AnchorSettings()
    screen: ScreenSettings = ScreenSettings()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def is_practice(self) -> bool:
        """True when the thresholds would trade without an edge; paper only."""
        return self.strategy.min_edge_bps < 0 or self.strategy.min_skill < 0

    def digest(self) -> str:
        """Return the sha256 of the settings that can change a decision, in hex."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def limits_digest(self) -> str:
        """Return the sha256 of the risk limits and of the slippage rules, in hex."""
        limits = {"risk": self.risk, "slippage": self.slippage}
        return hashlib.sha256(msgspec.json.encode(limits, order="sorted")).hexdigest()


def load_settings(path: Path | None) -> Settings:
    """Return the defaults with what ``path`` overrides.

    Errors: ``ConfigError`` with every mistake found: file, key, what was found, what is allowed.
    """
    if path is None:
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: was not UTF-8 text ({error.reason})"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: was not TOML: {error}"]) from error
    return settings_from(table, str(path))


def settings_from(table: dict[str, Any], place: str) -> Settings:
    """Return settings from a parsed TOML table; ``place`` names it in errors."""
    findings: list[str] = []
    sections: dict[str, msgspec.Struct] = {}
    known = get_type_hints(Settings)
    for name, values in table.items():
        if name not in known:
            findings.append(f"{place}: [{name}] is not a table; allowed: {', '.join(known)}")
        elif not isinstance(values, dict):
            findings.append(f"{place}: {name} was {values!r}; it is a table, write [{name}]")
        else:
            sections[name] = _section(known[name], name, values, place, findings)
    if findings:
        raise ConfigError(findings)
    settings = Settings(**sections)  # type: ignore[arg-type]
    _check_together(settings, place)
    return settings


def _section(
    kind: type[msgspec.Struct], name: str, values: dict[str, Any], place: str, findings: list[str]
) -> msgspec.Struct:
    hints = get_type_hints(kind, include_extras=True)
    good: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{place}: [{name}] {key}"
        if key not in hints:
            findings.append(f"{where} is not a setting; allowed: {', '.join(hints)}")
            continue
        try:
            good[key] = _convert(value, hints[key])
        except (msgspec.ValidationError, ArithmeticError) as error:
            findings.append(f"{where} was {value!r}; {_allowed(hints[key], error)}")
    return kind(**good)


def _convert(value: Any, hint: Any) -> Any:
    if hint is _Money:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise msgspec.ValidationError("write it in quotes")
        money = Decimal(str(value))
        if not money.is_finite() or not 0 < money <= MONEY_MAX:
            raise msgspec.ValidationError("not above zero, or beyond any purse")
        return money
    return msgspec.convert(value, hint)


def _allowed(hint: Any, error: Exception) -> str:
    if hint is _Money:
        return f'allowed is decimal text above 0 to {MONEY_MAX} in quotes, like "1000.50"'
    choices = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is Literal:
        return f"allowed: {', '.join(map(str, choices))}"
    for meta in getattr(hint, "__metadata__", ()):
        if meta.pattern is not None:
            break
        low = f"from {meta.ge}" if meta.ge is not None else f"above {meta.gt}"
        kind = hint.__origin__.__name__
        return f"allowed is {kind} {low} to {meta.le}"
    return f"allowed: {error}"


def _check_together(settings: Settings, place: str) -> None:
    """Check what no single key shows."""
    findings = []
    if settings.strategy.order_notional > settings.risk.max_order_notional:
        findings.append(
            f"{place}: [strategy] order_notional was {settings.strategy.order_notional}; "
            f"allowed is at most [risk] max_order_notional {settings.risk.max_order_notional}"
        )
    if settings.risk.max_order_notional > settings.risk.max_position_notional:
        findings.append(
            f"{place}: [risk] max_order_notional was {settings.risk.max_order_notional}; "
            f"allowed is at most max_position_notional {settings.risk.max_position_notional}"
        )
    findings += _check_limits(settings.risk, place)
    if settings.feed.backoff_first_ms > settings.feed.backoff_max_ms:
        findings.append(
            f"{place}: [feed] backoff_first_ms was {settings.feed.backoff_first_ms}; "
            f"allowed is at most backoff_max_ms {settings.feed.backoff_max_ms}"
        )
    if settings.anchors.rfc3161_url and not settings.anchors.rfc3161_ca:
        findings.append(
            f"{place}: [anchors] rfc3161_url needs rfc3161_ca: the PEM file of the authority's CA, "
            "without which a token proves nothing"
        )
    if findings:
        raise ConfigError(findings)


def _check_limits(risk: RiskSettings, place: str) -> list[str]:
    findings = []
    if risk.max_position_notional > risk.max_gross_exposure:
        findings.append(
            f"{place}: [risk] max_position_notional was {risk.max_position_notional}; "
            f"allowed is at most max_gross_exposure {risk.max_gross_exposure}"
        )
    for key in ("stock_holidays", "stock_early_closes"):
        for day in getattr(risk, key):
            try:
                date.fromisoformat(day)
            except ValueError:
                findings.append(f"{place}: [risk] {key} held {day!r}; that is no day")
    if not risk.stock_open < risk.stock_early_close <= risk.stock_close:
        findings.append(
            f"{place}: [risk] stock_open was {risk.stock_open}; allowed is before "
            f"stock_early_close {risk.stock_early_close}, which is not after "
            f"stock_close {risk.stock_close}"
        )
    return findings

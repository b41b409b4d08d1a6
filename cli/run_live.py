"""A live venue: its socket feeds the session; orders go to the paper broker."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np

from cli.engine import EngineProcess, run_process
from cli.recordings import make_recordings
from cli.venues import endpoint_of, symbols_by_venue
from cli.wiring import RunPlan, open_ledger, wire
from core.brokers.paper import PaperBroker
from core.clock import Clock
from core.config import FeedSettings, Settings
from core.errors import Failed, UserError
from core.feeds.handover import renewal_for
from core.feeds.joined import Joined, Part
from core.feeds.link import FeedLink
from core.feeds.products import is_loopback
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import default_symbols, fetch_instruments, protocol_for
from core.feeds.socket import run_feed
from core.model.decision import Mode
from core.model.instrument import Instrument
from core.model.market import MarketEvent
from core.recordings import Recordings
from core.secrets import VENUES_WITH_KEYS, VenueKeys, find_keys, loopback_keys, missing_keys
from core.session import Session
from core.state import StateDir


def settings_at(settings: Settings, endpoint: str | None) -> tuple[Settings, str]:
    """Return the settings with every address at ``endpoint``, and its HTTP address.

    A test bed serves socket and HTTP on one port. Errors: ``UserError`` for another scheme.
    """
    if endpoint is None:
        return settings, ""
    scheme, _, host = endpoint.rstrip("/").partition("://")
    if scheme not in {"ws", "wss"} or not host:
        raise UserError(f"--endpoint was {endpoint!r}, allowed is ws://HOST:PORT or wss://HOST")
    rest = ("http://" if scheme == "ws" else "https://") + host
    feed = msgspec.structs.replace(
        settings.feed,
        binance_stream=endpoint.rstrip("/"),
        binance_rest=rest,
        coinbase_stream=endpoint.rstrip("/"),
        coinbase_exchange_stream=endpoint.rstrip("/"),
        coinbase_exchange_rest=rest,
        alpaca_stream=endpoint.rstrip("/"),
        alpaca_rest=rest,
        alpaca_account_rest=rest,
    )
    assert isinstance(feed, FeedSettings)
    return msgspec.structs.replace(settings, feed=feed), rest


def keys_for(venue: str, endpoint: str | None) -> VenueKeys | None:
    """Return the keys of a venue that needs some; a test bed on this machine gets a stand-in.

    Errors: ``UserError`` where there are none, and for an endpoint that would see them in clear.
    """
    if venue not in VENUES_WITH_KEYS:
        return None
    if endpoint is not None and is_loopback(endpoint):
        return loopback_keys()
    if endpoint is not None and not endpoint.startswith("wss://"):
        raise UserError(f"--endpoint {endpoint!r}: keys are sent to wss://HOST alone")
    keys = find_keys(venue)
    if keys is None:
        raise missing_keys(venue)
    return keys


def ask_instruments(
    venue: str,
    symbols: tuple[str, ...],
    settings: Settings,
    rest: str,
    keys: VenueKeys | None = None,
) -> list[Instrument]:
    """Return the instruments as the venue lists them now.

    Errors: ``UserError`` for a symbol that cannot be had live, or keys that were refused;
    ``TryAgain`` when the venue cannot be reached.
    """
    wanted = symbols or default_symbols(venue, settings)
    return asyncio.run(fetch_instruments(venue, wanted, settings, rest=rest, keys=keys))


class VenueFeed(msgspec.Struct, frozen=True):
    """One venue of a run: its protocol and what its socket needs."""

    protocol: FeedProtocol
    settings: Settings
    """With the addresses of its endpoint."""
    keys: VenueKeys | None

    @property
    def venue(self) -> str:
        return self.protocol.venue

    @property
    def instruments(self) -> list[Instrument]:
        return [feed.instrument for feed in self.protocol.instruments]


def open_venue(
    venue: str, symbols: tuple[str, ...], settings: Settings, endpoint: str | None
) -> VenueFeed:
    """Ask a venue for its instruments and make its protocol. Errors: as ``ask_instruments``."""
    settings, rest = settings_at(settings, endpoint)
    keys = keys_for(venue, endpoint)
    instruments = ask_instruments(venue, symbols, settings, rest, keys)
    return VenueFeed(protocol_for(venue, instruments, settings), settings, keys)


def start_live(
    settings: Settings,
    state: StateDir,
    clock: Clock,
    duration_s: float | None,
    endpoint: str | None,
) -> None:
    """Run on one or several live venues until asked to stop. Errors: as ``ask_instruments``."""
    feeds = [
        open_venue(venue, symbols, settings, endpoint_of(endpoint, venue))
        for venue, symbols in symbols_by_venue(settings.run).items()
    ]
    if len(feeds) == 1:
        protocol, settings = feeds[0].protocol, feeds[0].settings
    else:
        protocol = Joined([feed.protocol for feed in feeds])
    instruments = [feed.instrument for feed in protocol.instruments]
    writer, history = open_ledger(state)
    broker = PaperBroker(protocol.instruments, settings)
    now_ns = clock.now_ns()
    recordings = make_recordings(settings, state, instruments, now_ns)
    plan = RunPlan(
        state=state,
        settings=settings,
        mode=Mode(settings.run.mode),
        seed=settings.run.seed,
        source="live",
        source_name=f"live {protocol.venue}",
        endpoints={feed.venue: feed.protocol.url() for feed in feeds},
    )
    rig = wire(plan, protocol, broker, writer, history, now_ns, now_ns, recordings)
    process = EngineProcess(rig, state, clock, settings.metrics.port)
    feed = _feed(rig.session, feeds, clock, recordings)
    body = process.run(feed, duration_s=duration_s, ends_with_feed=False, is_live=True)
    run_process(process, body, clock)


async def _feed(
    session: Session, feeds: list[VenueFeed], clock: Clock, recordings: Recordings
) -> None:
    """Feed the session from every venue.

    Errors: ``Failed`` of a venue that gives up, unless another one goes on; then it is told.
    """
    session.clock = clock
    joined = session.inner if isinstance(session.inner, Joined) else None
    session.links = {feed.venue: FeedLink() for feed in feeds}
    going = {feed.venue for feed in feeds}

    async def run(feed: VenueFeed, face: Session | Part, seed: int) -> None:
        def fresh() -> FeedProtocol:
            return protocol_for(feed.venue, feed.instruments, feed.settings)

        try:
            await run_feed(
                face,
                nothing_left,
                clock,
                feed.settings,
                generator=np.random.default_rng(seed),
                stop=asyncio.Event(),
                recorder=recordings.captures.get(feed.venue),
                link=session.links[feed.venue],
                renewal=renewal_for(feed.venue, feed.settings, fresh, face),
                fill=feed.keys.fill if feed.keys else str,
            )
        except Failed as error:
            going.discard(feed.venue)
            if not going:
                raise
            face.on_close(str(error), clock.now_ns())
            session.engine.context.notify("error", f"{feed.venue} has ended: {error}")

    seed = session.engine.settings.run.seed
    if joined is None:
        await run(feeds[0], session, seed)
        return
    async with asyncio.TaskGroup() as group:
        for number, (feed, part) in enumerate(zip(feeds, joined.parts, strict=True)):
            part.wear(session)
            group.create_task(run(feed, part, seed + number))


def nothing_left(events: list[MarketEvent], recv_ns: int) -> None:
    """Take what a session leaves over: nothing, for it takes every event as it comes."""
    assert not events, f"{len(events)} events were left at {recv_ns}"

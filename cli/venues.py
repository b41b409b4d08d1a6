"""The venues of a run: which symbols and which address each one has, as the user wrote them."""

from __future__ import annotations

from core.config import RunSettings
from core.errors import UserError


def venues_of(run: RunSettings) -> tuple[str, ...]:
    """Return the venues of a run, the first one first.

    Errors: ``UserError`` for one named twice, or others beside the simulated market, whose time
    is its own.
    """
    venues = (run.venue, *run.more_venues)
    if len(set(venues)) < len(venues):
        raise UserError(f"the venues were {', '.join(venues)}: one was named twice")
    if len(venues) > 1 and run.venue == "sim":
        raise UserError("the simulated market runs alone: name other venues without sim")
    return venues


def symbols_by_venue(run: RunSettings) -> dict[str, tuple[str, ...]]:
    """Return the symbols of each venue, none where its default is meant.

    ``binance:BTCUSDT`` names the venue; of one venue alone ``BTCUSDT`` will do.

    Errors: ``UserError`` for a symbol without a venue where there are several, or of a venue that
    is not in the run.
    """
    venues = venues_of(run)
    symbols: dict[str, list[str]] = {venue: [] for venue in venues}
    for text in run.symbols:
        venue, colon, symbol = text.partition(":")
        if not colon and len(venues) == 1:
            venue, symbol = venues[0], text
        if venue not in symbols or not symbol:
            raise UserError(
                f"symbol {text!r}: write VENUE:SYMBOL with a venue of this run "
                f"({', '.join(venues)})"
            )
        symbols[venue].append(symbol)
    return {venue: tuple(each) for venue, each in symbols.items()}


def endpoint_of(endpoint: str | None, venue: str) -> str | None:
    """Return the address of ``venue`` from ``URL`` (of all) or ``VENUE=URL,VENUE=URL``."""
    if endpoint is None or "://" in endpoint.partition("=")[0]:
        return endpoint
    places = dict(each.partition("=")[::2] for each in endpoint.split(","))
    return places.get(venue)

"""``doctor`` on keys: whether a venue has some, who can read them, whether the venue takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx

from cli.check import Check, Level
from core.config import Settings, load_settings
from core.errors import ConfigError, UserError
from core.feeds.alpaca_rest import KEY_HEADERS
from core.secrets import VENUES_WITH_KEYS, VenueKeys, find_keys

TIMEOUT_S = 3.0
_REFUSED = frozenset({401, 403})


def check_keys(config: Path | None) -> Iterator[Check]:
    """Yield a line for each venue that has or needs keys; their text is in none."""
    try:
        settings = load_settings(config)
    except ConfigError:
        # Told by the line on the configuration; the keys are not its fault.
        settings = Settings()
    for venue in VENUES_WITH_KEYS:
        try:
            keys = find_keys(venue)
        except UserError as error:
            yield Check(Level.FAIL, "keys", str(error), "correct it, then make new keys")
            continue
        if keys is None:
            yield Check(Level.OK, "keys", f"none for {venue}, which alone needs some")
        else:
            yield ask_venue(venue, keys, settings.feed.alpaca_account_rest)


def ask_venue(venue: str, keys: VenueKeys, rest: str) -> Check:
    """Ask the venue's clock with the keys: the smallest thing that only a customer is told."""
    what = f"for {venue} in {keys.source}"
    headers = {name: keys.fill(value) for name, value in KEY_HEADERS}
    try:
        reply = httpx.get(f"{rest}/v2/clock", headers=headers, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = type(error).__name__
        return Check(Level.WARN, "keys", f"{what}; not tried ({said})", "look at the network")
    if reply.status_code == httpx.codes.OK:
        return Check(Level.OK, "keys", f"{what}; {httpx.URL(rest).host} takes them")
    if reply.status_code in _REFUSED:
        text = f"{what}; {httpx.URL(rest).host} refused them (HTTP {reply.status_code})"
        return Check(Level.FAIL, "keys", text, f"tapewright secrets set {venue}")
    text = f"{what}; not tried (HTTP {reply.status_code})"
    return Check(Level.WARN, "keys", text, "try again later")

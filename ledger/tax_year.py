"""Tax years and dates in the taxpayer's own time zone, and the length of a holding.

The ledger's times are UTC; which day, and so which year, a close falls on depends on where the
taxpayer lives. Read for the rules: the IRS instructions for Form 8949 (2025) and Rev. Rul. 66-7.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from core.errors import UserError

_OFFSET = re.compile(r"([+-])(0\d|1[0-4]):?([0-5]\d)", re.ASCII)
_TO_THE_SECOND = len("2026-01-31T09:30:00")


def parse_zone(text: str) -> tzinfo:
    """Return the zone of ``UTC``, an offset such as ``-05:00``, or an IANA name.

    Errors: ``UserError`` for anything else.
    """
    if text.upper() in {"UTC", "Z"}:
        return UTC
    offset = _OFFSET.fullmatch(text)
    if offset:
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-size if offset[1] == "-" else size)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:  # unknown, a bad key, a folder of zones
        raise UserError(
            f"--timezone was {text[:40]!r}; allowed is UTC, an offset such as -05:00, "
            "or a name such as America/New_York"
        ) from error


def moment(ts: str, zone: tzinfo) -> datetime:
    """Return a ledger time in ``zone``, to the second."""
    return datetime.fromisoformat(ts[:_TO_THE_SECOND]).replace(tzinfo=UTC).astimezone(zone)


def window(year: int) -> tuple[str, str]:
    """Return from when to when, as ledger times, a year can lie in any zone: a day more each way.

    The rows inside still have to be asked by ``moment``.
    """
    return f"{year - 1:04}-12-31", f"{year + 1:04}-01-02"


def is_long_term(acquired: date, sold: date) -> bool:
    """Tell whether a holding lasted more than one year, counted from the day after acquisition.

    Bought on 15 January, it is long-term from 16 January of the next year on.
    """
    begins = acquired + timedelta(days=1)
    try:
        year_later = begins.replace(year=begins.year + 1)
    except ValueError:  # 29 February: the year is over with 28 February
        year_later = date(begins.year + 1, 3, 1)
    return sold >= year_later

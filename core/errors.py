"""The exception tree. Ours stops the engine; the world's is a value; the user's is a list.

TapewrightError
├── InvariantError          ours: a bug; not caught below ``main``
├── UserError               the user's: exit code 2, one clear line per finding
│   ├── ConfigError         several findings, each naming file, key, found, allowed
│   ├── CaptureError        a capture file that cannot be read, naming file and line
│   └── UnknownVenue
├── LedgerDown              the world's: nothing can be written, so nothing new may be traded
├── Failed                  the command ran and found something wrong; exit code 1
├── TryAgain                exit code 3: another engine runs here, a socket is not there yet
└── ValueRefused            text that is not exactly a value
    ├── OffTickPrice
    └── OffLotQuantity
"""

from __future__ import annotations


class TapewrightError(Exception):
    """Root of everything this program raises on purpose."""


class InvariantError(TapewrightError):
    """A broken invariant of ours: the engine stops and a restart replays."""


class UserError(TapewrightError):
    """A mistake of the user, told in one line; the command exits with 2."""


class ConfigError(UserError):
    """All mistakes found in one configuration, each with place and remedy."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


class CaptureError(UserError):
    """A capture file that is missing, cut, or not ``capture/1``."""


class UnknownVenue(UserError):
    """A venue name that this program does not know."""


class LedgerDown(TapewrightError):
    """The ledger takes no more events; cancels and the kill go on without it."""


class TryAgain(TapewrightError):
    """Not now: the command exits with 3."""


class Failed(TapewrightError):
    """The command ran and found something wrong: it exits with 1."""


class ValueRefused(TapewrightError):
    """Text at the edge that is not exactly a value of ours."""


class OffTickPrice(ValueRefused):
    """A price that is not a whole number of ticks."""


class OffLotQuantity(ValueRefused):
    """A quantity that is not a whole number of lots."""

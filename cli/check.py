"""One line of ``doctor``: ok, warn or FAIL, what was found, and its remedy."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Check(msgspec.Struct, frozen=True):
    level: Level
    name: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<5} {self.name:<12} {self.text}{remedy}"

"""The JSON of a backtest: the same captures, settings, seed and code give the same bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from core.backtest_report import FileReport, Report, Result
from core.model.instrument import plain
from core.quality import Quality

FORMAT = "backtest/1"


def encode(report: Report) -> bytes:
    """Return the report as JSON with a newline at its end; decimals as plain text."""
    tree = {
        "format": FORMAT,
        "terms": report.terms,
        "total": [_total(one) for one in report.totals],
        "files": [_file(one) for one in report.files],
        "bad_files": report.bad_files,
    }
    built = msgspec.to_builtins(tree, builtin_types=(Decimal,))
    return msgspec.json.format(msgspec.json.encode(_texts(built)), indent=1) + b"\n"


def _file(file: FileReport) -> dict[str, Any]:
    fields = msgspec.structs.asdict(file)
    return fields | {"results": [_result(one) for one in file.results]}


def _total(result: Result) -> dict[str, Any]:
    fields = _result(result)
    del fields["open_positions"]  # of one file each: a position does not go on into the next
    return fields


def _result(result: Result) -> dict[str, Any]:
    fields = msgspec.structs.asdict(result)
    del fields["reach"], fields["exposure_ns"]
    return fields | {
        "quality": _quality(result.quality),
        "exposure_mean": result.exposure_mean,
        "hit_rate": result.hit_rate,
        "in_market": result.in_market,
        "pnl_before_fees": result.pnl_before_fees,
        "slippage_bps": result.slippage_bps,
    }


def _quality(quality: Quality) -> dict[str, Any]:
    fields = msgspec.structs.asdict(quality)
    markouts = [
        {"horizon_s": one.horizon_s, "fills": one.fills, "mean_bps": one.mean_bps, "gain": one.gain}
        for one in quality.markouts
    ]
    return fields | {
        "expected_bps": quality.expected_bps,
        "realized_bps": quality.realized_bps,
        "markouts": markouts,
    }


def _texts(tree: Any) -> Any:
    """Return ``tree`` with every decimal as plain text."""
    if isinstance(tree, Decimal):
        return plain(tree)
    if isinstance(tree, dict):
        return {key: _texts(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_texts(value) for value in tree]
    return tree

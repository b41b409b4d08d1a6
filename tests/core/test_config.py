from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import RiskSettings, Settings, load_settings, settings_from
from core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = ROOT / "config.toml"


def findings(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from(table, "my.toml")
    return caught.value.findings


def test_documented_file_is_the_defaults() -> None:
    assert load_settings(DOCUMENTED) == Settings()
    assert load_settings(None) == Settings()


def test_every_key_is_in_the_documented_file_and_no_other() -> None:
    table = tomllib.loads(DOCUMENTED.read_text(encoding="utf-8"))
    expected = {
        name: set(get_type_hints(section)) for name, section in get_type_hints(Settings).items()
    }
    assert {name: set(keys) for name, keys in table.items()} == expected


def test_every_key_has_its_comment() -> None:
    # A comment may speak for the keys right below it, such as the fees of the venues.
    is_explained = False
    for line in DOCUMENTED.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            is_explained = True
        elif "=" in line:
            assert is_explained, f"{line!r} has no comment"
        else:
            is_explained = False


def test_file_overrides_only_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[risk]\nmax_daily_loss = "50"\n[strategy]\nthreshold = 0\n', encoding="utf-8")
    settings = load_settings(file)
    assert settings.risk.max_daily_loss == Decimal(50)
    assert settings.strategy.threshold == 0
    assert settings.run == Settings().run
    assert settings.risk.max_order_notional == Settings().risk.max_order_notional


def test_three_mistakes_are_told_at_once_with_place_found_and_allowed(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(
        '[run]\nvenue = "nyse"\n[strategy]\nthreshold = 5\n[risk]\nmax_dayly_loss = "5"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    first, second, third = caught.value.findings
    assert str(caught.value).splitlines() == [first, second, third]
    assert first.startswith(f"{file}: [run] venue was 'nyse'; allowed: sim, coinbase,")
    assert second == f"{file}: [strategy] threshold was 5; allowed is float from 0 to 0.5"
    assert third.startswith(f"{file}: [risk] max_dayly_loss is not a setting; allowed: ")
    assert "max_daily_loss" in third


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"rsik": {}}, "[rsik] is not a table; allowed: run, feed,"),
        ({"run": 5}, "run was 5; it is a table, write [run]"),
        ({"run": {"seed": -1}}, "[run] seed was -1; allowed is int from 0 to 2147483647"),
        ({"run": {"seed": True}}, "[run] seed was True"),
        ({"run": {"seed": "7"}}, "[run] seed was '7'"),
        ({"run": {"symbols": "BTC-USD"}}, "[run] symbols was 'BTC-USD'"),
        ({"feed": {"record": "yes"}}, "[feed] record was 'yes'"),
        ({"feed": {"snapshot_levels": 20}}, "allowed: 100, 500, 1000, 5000"),
        ({"metrics": {"port": 65_536}}, "[metrics] port was 65536; allowed is int from 0 to 65535"),
        ({"sim": {"speed": 0}}, "[sim] speed was 0"),
        ({"strategy": {"threshold": float("nan")}}, "[strategy] threshold was nan"),
        ({"strategy": {"min_edge_bps": float("inf")}}, "[strategy] min_edge_bps was inf"),
        ({"risk": {"max_daily_loss": 0}}, "[risk] max_daily_loss was 0; allowed is decimal text"),
        ({"risk": {"max_daily_loss": "-5"}}, "[risk] max_daily_loss was '-5'"),
        ({"risk": {"max_daily_loss": 99.5}}, "max_daily_loss was 99.5; allowed is decimal text"),
        ({"risk": {"max_daily_loss": "NaN"}}, "[risk] max_daily_loss was 'NaN'"),
        ({"risk": {"max_daily_loss": "1e400000000"}}, "[risk] max_daily_loss was"),
        ({"risk": {"max_daily_loss": "much"}}, "[risk] max_daily_loss was 'much'"),
        ({"risk": {"max_daily_loss": True}}, "[risk] max_daily_loss was True"),
        ({"risk": {"price_collar_bps": 0}},
         "[risk] price_collar_bps was 0; allowed is float above 0 to 10000"),
        ({"risk": {"max_drawdown": "0"}}, "[risk] max_drawdown was '0'; allowed is decimal text"),
        ({"risk": {"max_repeated_fills": 0}}, "[risk] max_repeated_fills was 0; allowed is int"),
        ({"risk": {"wild_size_share": 1.1}}, "[risk] wild_size_share was 1.1"),
        ({"risk": {"instruments": "*"}}, "[risk] instruments was '*'"),
        ({"risk": {"stock_open": "9:30"}}, "[risk] stock_open was '9:30'; allowed: "),
        ({"risk": {"stock_holidays": ["1 May"]}}, "[risk] stock_holidays was ['1 May']"),
        ({"slippage": {"bad_bps": 0}}, "[slippage] bad_bps was 0; allowed is float above 0 to"),
        ({"slippage": {"pause_s": -1}}, "[slippage] pause_s was -1"),
    ],
)  # fmt: skip
def test_mistake_names_key_found_and_allowed(table: dict[str, Any], said: str) -> None:
    (finding,) = findings(table)
    assert finding.startswith("my.toml: ")
    assert said in finding


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"strategy": {"order_notional": "2001"}}, "at most [risk] max_order_notional 2000"),
        ({"risk": {"max_order_notional": "5001"}}, "at most max_position_notional 5000"),
        ({"feed": {"backoff_first_ms": 60_000}}, "at most backoff_max_ms 30000"),
        ({"risk": {"max_gross_exposure": "4999"}}, "at most max_gross_exposure 4999"),
        ({"risk": {"stock_holidays": ["2026-02-30"]}},
         "[risk] stock_holidays held '2026-02-30'; that is no day"),
        ({"risk": {"stock_open": "13:00"}}, "allowed is before stock_early_close 13:00"),
        ({"risk": {"stock_early_close": "16:01"}}, "which is not after stock_close 16:00"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(table: dict[str, Any], said: str) -> None:
    (finding,) = findings(table)
    assert said in finding


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[run", "was not TOML"),
        (b"[run]\nseed = 1\nseed = 2\n", "was not TOML"),
        (b"\xff\xfe", "was not UTF-8 text"),
    ],
)
def test_file_that_is_no_toml_is_one_finding(tmp_path: Path, body: bytes, said: str) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(body)
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)


def test_file_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    for place in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_settings(place)


@pytest.mark.parametrize(
    ("key", "value", "is_practice"),
    [("min_edge_bps", -0.5, True), ("min_skill", -1, True), ("min_skill", 0, False)],
)
def test_thresholds_below_zero_are_practice(key: str, value: float, is_practice: bool) -> None:
    assert settings_from({"strategy": {key: value}}, "x").is_practice is is_practice


def test_digest_changes_with_any_setting_and_limits_digest_with_limits_alone() -> None:
    base = Settings()
    seeded = settings_from({"run": {"seed": 8}}, "x")
    limited = settings_from({"risk": {"max_daily_loss": "199"}}, "x")
    slipped = settings_from({"slippage": {"bad_bps": 2.5}}, "x")
    assert slipped.limits_digest() != base.limits_digest()
    assert len({base.digest(), seeded.digest(), limited.digest()}) == 3
    assert base.limits_digest() == seeded.limits_digest() != limited.limits_digest()
    assert base.digest() == settings_from({}, "elsewhere").digest()


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_values = (
    _scalars | st.lists(_scalars, max_size=2) | st.dictionaries(st.text(), _scalars, max_size=1)
)
_keys = st.sampled_from([*get_type_hints(RiskSettings), "max_dayly_loss"])


@given(table=st.dictionaries(_keys, _values, max_size=4))
def test_any_values_give_settings_or_findings_and_never_another_error(
    table: dict[str, Any],
) -> None:
    try:
        settings = settings_from({"risk": table}, "x")
    except ConfigError as error:
        assert error.findings  # noqa: PT017 (either way out is right)
    else:
        assert msgspec.structs.asdict(settings.risk).keys() >= table.keys()
        assert settings.risk.max_daily_loss > 0

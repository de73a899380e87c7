"""The letter of the week as people read it: at a desk and on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from autotrader.alerts.picture import CurvePoint
from autotrader.alerts.weekly import (
    AccountWeek,
    AlertLine,
    DayLine,
    DriftWeek,
    InstrumentLine,
    LevelLine,
    ModelLine,
    MovedFeature,
    PipelineLine,
    RolloutLine,
    WeeklyReport,
    Window,
    weekly_report,
)
from autotrader.domain.service_levels import LEVELS
from tests.services import chromium

pytestmark = pytest.mark.integration

END = datetime.fromisoformat("2024-03-03T18:00:00+00:00")
WEEK = Window(END - timedelta(days=7), END)


def curve() -> tuple[CurvePoint, ...]:
    heights = [Decimal(100_000 + 40 * (n % 17) + 9 * n) for n in range(168)]
    peaks = [max(heights[: n + 1]) for n in range(len(heights))]
    return tuple(
        CurvePoint(WEEK.start + timedelta(hours=n), height, float(1 - height / peak))
        for n, (height, peak) in enumerate(zip(heights, peaks, strict=True))
    )


ACCOUNT = AccountWeek(
    account="main",
    strategy_id="autotrader-strategy",
    source="SIMULATED",
    base_currency="USD",
    state="reducing",
    restrictions=("drawdown: 10.01 % below the peak, only positions that shrink are taken",),
    equity=Decimal("102143.20"),
    pnl=Decimal("2143.20"),
    pnl_share=0.0214,
    sharpe=1.83,
    max_drawdown=0.1001,
    trades=214,
    wins=101,
    win_rate=101 / 214,
    profit_factor=1.12,
    realised=Decimal("1987.10"),
    fees=Decimal("431.77"),
    slippage=Decimal("-12.05"),
    orders_filled=431,
    turnover=14.2,
    days=tuple(
        DayLine(date(2024, 2, 26) + timedelta(days=n), Decimal(300 - 90 * n), 30, 14, Decimal(280 - 80 * n))
        for n in range(7)
    ),
    instruments=tuple(
        InstrumentLine(f"binance:{name}", 71, 33, Decimal(n), Decimal("143.9"), "USD")
        for n, name in ((812, "BTCUSDT"), (-133, "ETHUSDT"), (1308, "SOLUSDT"))
    ),
    curve=curve(),
    notes=("The trader is stopped.",),
)
REPORT = WeeklyReport(
    key="weekly-report-2024-03-03",
    market=WEEK,
    world=Window(END, END + timedelta(days=7)),
    is_whole=True,
    accounts=(ACCOUNT,),
    models=(
        ModelLine("v1.3.0", "forward_return, 60 minutes, 20 bps round trip", 28_812, 120, 0.412, 0.43, 0.021),
    ),
    drift=DriftWeek(168, 2, 5, 0, (MovedFeature("realised_volatility_60", 5, 2, 0.41),)),
    rollouts=(
        RolloutLine(
            *("v1.3.0", "v1.2.0", "rolled_back", "canary", True, END, END, "airflow:quant"),
            "drawdown of the candidate 0.031, of the stable version 0.012, beyond chance",
        ),
    ),
    pipelines=(PipelineLine("data_pipeline", 6, 1, END), PipelineLine("feature_health_check", 168, 0, None)),
    pipelines_missing="",
    levels=tuple(
        LevelLine(level.name, level.meaning, level.objective, ratio, left)
        for level, (ratio, left) in zip(
            LEVELS, ((0.0009, 0.1), (0.012, -0.2), (None, None), (0.0, 1.0)), strict=True
        )
    ),
    levels_missing="",
    alerts=(
        AlertLine(
            *("alert-0001", "CircuitBreakerTripped", "critical", "open"),
            "The circuit breaker halts trading: a person must resume it",
            END,
        ),
    ),
    raised={"critical": 1, "warning": 12},
    look_at=(
        "main is reducing: drawdown: 10.01 % below the peak, only positions that shrink are taken",
        "v1.3.0 was taken back for what it did",
    ),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 375])
def test_the_weekly_report_is_whole_readable_and_alone(
    browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    page = tmp_path / "weekly.html"
    page.write_text(weekly_report(REPORT).page())
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, java_script_enabled=True
    )
    tab, wrong = context.new_page(), []
    tab.on("requestfailed", lambda request: wrong.append(request.url))
    tab.goto(page.as_uri(), wait_until="load")
    tab.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
    assert wrong == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.images[0].naturalWidth") > 600
    background = tab.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert background == ("rgb(26, 32, 41)" if scheme == "dark" else "rgb(255, 255, 255)")
    colours = tab.evaluate(
        "[...document.querySelectorAll('td, p, h1, h2')].map(e => getComputedStyle(e).color)"
    )
    assert all(contrast(colour, background) >= 4.5 for colour in colours if "255, 255, 255" not in colour)
    context.close()


def contrast(one: str, other: str) -> float:
    """Of two `rgb(r, g, b)`, as WCAG 2.2 has it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

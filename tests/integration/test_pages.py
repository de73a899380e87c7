"""Pages as people open them: in a browser, without a network, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page

from tests.services import chromium
from tests.unit.monitoring.live import Live, make_reference

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def health_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model whose `rsi_14` comes in another unit than it learnt."""
    live = Live(tmp_path_factory.mktemp("live"), make_reference())
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("rsi_14") / 100))
    live.report()
    (page,) = (live.home / "reports" / "health").glob("*/index.html")
    return page


def opened(browser: Browser, page: Path, width: int) -> tuple[Page, list[str]]:
    """The page, and everything that went wrong while it loaded."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    tab, wrong = context.new_page(), []
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("requestfailed", lambda request: wrong.append(request.url))
    tab.goto(page.as_uri(), wait_until="load")
    return tab, wrong


@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_the_health_page_says_first_what_is_wrong_and_what_to_do(
    browser: Browser, health_page: Path, width: int
) -> None:
    tab, wrong = opened(browser, health_page, width)
    assert wrong == []
    words = tab.inner_text("body")
    assert "critical" in words.lower()
    assert words.lower().index("critical") < words.index("rsi_14")
    # Nothing is cut off at the right: what is wide scrolls within itself.
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()

"""What the letters say, and that nothing in them can reach out of its place."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest

from autotrader.alerts.mail import Letter, Picture, exact, message, money, price, render
from autotrader.alerts.picture import CurvePoint, thinned
from autotrader.alerts.reports import (
    DailySummary,
    OpenPosition,
    TradeLine,
    Watch,
    Watched,
    daily_summary,
    recovery_report,
    trade_execution,
)
from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Side
from autotrader.domain.positions import ClosedTrade
from autotrader.domain.trading import DiscrepancyKind, RecoveryKind
from autotrader.ports.trading import Discrepancy, Recovery

NOW = datetime(2024, 2, 29, 21, 30, tzinfo=UTC)
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
LETTER = Letter("a-key", "A subject", "<p>Grüße</p>", "Grüße\n")
HOSTILE = '<script>alert("x")</script> & {{ 7 * 7 }}'

SUMMARY = DailySummary(
    account="main",
    strategy_id="autotrader-strategy",
    day=date(2024, 2, 29),
    start=NOW - timedelta(days=1),
    end=NOW,
    source="live",
    base_currency="USD",
    state="active",
    restrictions=(),
    as_of=NOW,
    equity=Decimal("101234.567"),
    pnl=Decimal("1234.567"),
    pnl_share=0.012346,
    drawdown=0.034,
    realised=Decimal("-12.5"),
    trades=2,
    wins=1,
    win_rate=0.5,
    profit_factor=None,
    newest_trades=(
        TradeLine("binance:BTCUSDT", "buy", Decimal("0.10"), Decimal(61000), Decimal(61065), Decimal("6.5"),
                  "USDT", NOW),
    ),
    positions=(
        OpenPosition("ibkr:AAPL", Decimal(-10), Decimal("182.5"), Decimal(180), NOW, Decimal(25), "USD"),
        OpenPosition("oanda:EUR_USD", Decimal(1000), Decimal("1.08"), None, None, None, "USD"),
    ),
    unrealised=None,
    watch=(Watched(Watch.SIGNAL, "binance:BTCUSDT", "score +0.81, buys"),),
)  # fmt: skip
FILL = Fill(
    "main", "7", "id", "v", BTC, Side.BUY, Decimal("0.1"), Decimal("61000.10"), Decimal("0.0001"), "BTC", NOW
)
HOUR: dict[str, Any] = {"start": NOW - timedelta(hours=1), "end": NOW, "source": "live"}
TRADE = ClosedTrade(
    "main", BTC, Side.BUY, Decimal(1), Decimal(10), Decimal(11), Decimal("0.1"), Decimal("0.9"), NOW, NOW
)


def recovery(*discrepancies: Discrepancy, resolved: bool = True) -> Recovery:
    return Recovery("r1", "main", RecoveryKind.CRASH, NOW, 1.23, 2, discrepancies, resolved, "after a crash")


def parsed(content: bytes) -> EmailMessage:
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


class Tags(HTMLParser):
    """The names of the elements of a page, and what it loads from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_daily_summary_has_what_the_contract_asks_for_in_both_forms() -> None:
    letter = daily_summary(SUMMARY)
    assert letter.key == "daily-summary-main-2024-02-29"
    assert letter.subject == "main on 2024-02-29: +1,234.57 USD, 2 trades"
    for text in (letter.html, letter.text):
        for said in (
            *("+1,234.57 USD", "+1.23%", "101,234.57 USD", "50.0%", "1 of 2", "-12.50 USD"),
            *("61,065", "+6.50 USDT"),
            *("ibkr:AAPL", "-10", "182.5", "+25.00 USD", "oanda:EUR_USD", "score +0.81, buys"),
        ):  # fmt: skip
            assert said in text, said


def test_what_is_not_known_is_a_dash_not_a_zero() -> None:
    letter = daily_summary(replace(SUMMARY, equity=None, pnl=None, pnl_share=None, win_rate=None, trades=0))
    assert "no equity recorded, 0 trades" in letter.subject
    assert "PnL                   –\n" in letter.text
    assert "Win rate              –\n" in letter.text
    assert "now –: –" in letter.text


def test_an_account_that_is_restricted_says_so_on_top() -> None:
    text = daily_summary(replace(SUMMARY, state="halted", restrictions=("drawdown: 15.01 %",))).text
    assert "THE ACCOUNT IS HALTED: drawdown: 15.01 %" in text
    assert text.index("HALTED") < text.index("TRADES AND PNL")


@pytest.mark.parametrize(
    ("source", "subject"),
    [("SIMULATED", "[SIMULATED] main"), ("recorded", "[recorded] main"), ("live", "main")],
)
def test_what_is_not_live_says_so_in_subject_and_text(source: str, subject: str) -> None:
    letter = daily_summary(replace(SUMMARY, source=source))
    assert letter.subject.startswith(subject)
    assert ("SIMULATED DATA" in letter.text) is (source == "SIMULATED")
    assert ("market data: " in letter.html) is (source != "live")


def test_of_many_trades_the_newest_are_shown_and_the_rest_counted() -> None:
    letter = daily_summary(replace(SUMMARY, trades=40, newest_trades=SUMMARY.newest_trades * 25))
    assert letter.text.count("61,065") == 25
    assert "and 15 earlier ones" in letter.html


def test_an_execution_names_each_fill_and_the_trade_it_closed() -> None:
    letter = trade_execution("main", [FILL], [TRADE], **HOUR)
    assert letter.subject == "main: buy 0.1 BTCUSDT"
    for text in (letter.html, letter.text):
        assert "61,000.1" in text
        assert "0.0001 BTC" in text
        assert "+0.90" in text


def test_the_executions_of_an_interval_make_one_letter_in_any_order() -> None:
    other = replace(FILL, fill_id="8")
    forth, back = (trade_execution("main", fills, **HOUR) for fills in ([FILL, other], [other, FILL]))
    assert forth == back
    assert forth.key == "trade-execution-main-20240229T213000Z"
    assert forth.subject == "main: 2 executions"


def test_of_many_executions_the_newest_are_shown_and_the_rest_counted() -> None:
    fills = [replace(FILL, fill_id=str(n), at=NOW - timedelta(seconds=n)) for n in range(1_000)]
    letter = trade_execution("main", fills, **HOUR)
    assert letter.text.count("61,000.1") == 50
    for text in (letter.html, letter.text):
        assert "and 950 earlier ones" in text
    assert "21:30:00" in letter.text


def test_a_recovery_that_is_not_settled_shows_the_discrepancies_and_what_to_do() -> None:
    found = Discrepancy(
        DiscrepancyKind.QUANTITY_MISMATCH,
        BTC,
        Decimal(1),
        Decimal("0.5"),
        Decimal(30500),
        True,
        "half is gone",
    )
    letter = recovery_report(recovery(found, resolved=False), source="live", base_currency="USD")
    assert letter.subject == "main: crash recovery is NOT settled, 1 discrepancy"
    for text in (letter.html, letter.text):
        for said in ("QUANTITY_MISMATCH", "0.5", "30,500.00", "half is gone", "autotrader reconcile"):
            assert said in text, said


def test_a_recovery_that_found_nothing_says_so() -> None:
    letter = recovery_report(recovery(), source="live", base_currency="USD")
    assert letter.subject == "main: crash recovery is settled, 0 discrepancies"
    assert "Positions and orders agree with the broker." in letter.text
    assert "What to do" not in letter.html


def test_nothing_that_is_reported_can_become_markup_or_a_template() -> None:
    hostile = replace(
        SUMMARY,
        restrictions=(HOSTILE,),
        watch=(Watched(Watch.SIGNAL, HOSTILE, HOSTILE),),
        positions=(replace(SUMMARY.positions[0], instrument=HOSTILE, currency=HOSTILE),),
        newest_trades=(replace(SUMMARY.newest_trades[0], instrument=HOSTILE),),
    )
    found = Discrepancy(
        DiscrepancyKind.ORPHANED_ORDER, BTC, Decimal(1), Decimal(0), Decimal(1), False, HOSTILE
    )
    told = replace(recovery(found), reason=HOSTILE)
    for letter in (
        daily_summary(hostile),
        recovery_report(told, source="live", base_currency=HOSTILE),
        trade_execution("main", [replace(FILL, fee_currency=HOSTILE)], **HOUR),
    ):
        assert "script" not in Tags(letter.html).names
        assert "&lt;script&gt;" in letter.html
        assert "49" not in letter.text.replace("{{ 7 * 7 }}", "")


def test_a_page_is_whole_loads_nothing_and_reads_in_the_dark() -> None:
    page = daily_summary(SUMMARY).html
    tags = Tags(page)
    assert tags.open == []
    assert tags.sources == []
    assert "prefers-color-scheme: dark" in page
    assert tags.names.isdisjoint({"div", "img", "link", "script"})


def test_a_picture_travels_in_the_mail_and_nothing_is_loaded_from_elsewhere() -> None:
    curve = tuple(
        CurvePoint(NOW - timedelta(minutes=n), Decimal(1000 + n), 0.001 * n) for n in range(600, 0, -1)
    )
    letter = daily_summary(replace(SUMMARY, curve=thinned(curve)))
    assert Tags(letter.html).sources == ["cid:equity-main"]
    assert 'alt="Equity and drawdown of main"' in letter.html
    mail = parsed(message(letter, sender="a@example.com", recipient=None, at=NOW))
    _, rich = mail.iter_parts()
    assert rich.get_content_type() == "multipart/related"
    page, picture = rich.iter_parts()
    assert page.get_content_type() == "text/html"
    assert (picture["Content-ID"], picture.get_content_type()) == ("<equity-main>", "image/png")
    assert picture.get_payload(decode=True) == letter.pictures[0].png
    (source,) = Tags(letter.page()).sources
    assert source.startswith("data:image/png;base64,iVBOR")


def test_a_thinned_curve_keeps_its_ends_and_its_extremes() -> None:
    heights = [Decimal(n % 977) for n in range(10_000)]
    heights[5_003] = Decimal(100_000)
    curve = [CurvePoint(NOW + timedelta(minutes=n), height, 0.0) for n, height in enumerate(heights)]
    kept = thinned(curve)
    assert len(kept) <= 240
    assert (kept[0], kept[-1]) == (curve[0], curve[-1])
    assert max(kept, key=lambda p: p.equity) == curve[5_003]


def test_a_pictures_name_cannot_start_a_header_of_its_own() -> None:
    letter = replace(LETTER, pictures=(Picture("a>\nBcc: x@evil.example", b"png"),))
    with pytest.raises(BadData, match="picture's name"):
        message(letter, sender="a@example.com", recipient=None, at=NOW)


def test_a_value_that_a_template_lacks_is_an_error_not_a_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("daily_summary", key="k", subject="s")


def test_a_message_carries_both_forms_and_reads_back_as_it_was_written() -> None:
    mail = parsed(message(LETTER, sender="a@example.com", recipient="b@example.com", at=NOW))
    assert (mail["From"], mail["To"], mail["Subject"]) == ("a@example.com", "b@example.com", "A subject")
    assert mail["Date"] == "Thu, 29 Feb 2024 21:30:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, rich = mail.iter_parts()
    assert (plain.get_content_type(), rich.get_content_type()) == ("text/plain", "text/html")
    assert isinstance(plain, EmailMessage)
    assert isinstance(rich, EmailMessage)
    assert plain.get_content().replace("\r\n", "\n") == LETTER.text
    assert rich.get_content().strip() == LETTER.html


def test_a_message_is_fit_for_any_mail_server() -> None:
    letter = daily_summary(replace(SUMMARY, restrictions=("ü" * 2000,)))
    content = message(letter, sender="a@example.com", recipient="b@example.com", at=NOW)
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")


def test_one_letter_has_one_message_id_for_each_recipient() -> None:
    def identity(recipient: str, at: datetime = NOW) -> str:
        return str(parsed(message(LETTER, sender="a@example.com", recipient=recipient, at=at))["Message-ID"])

    assert identity("b@example.com") == identity("b@example.com", NOW + timedelta(hours=1))
    assert identity("b@example.com") != identity("c@example.com")
    assert identity("b@example.com").endswith("@example.com>")


@pytest.mark.parametrize("subject", ["a\nBcc: x@evil.example", "a\r\n\r\nbody", "a\x00b", "a\u2028b"])
def test_a_subject_cannot_start_a_header_of_its_own(subject: str) -> None:
    with pytest.raises(BadData, match="subject as one line"):
        message(replace(LETTER, subject=subject), sender="a@example.com", recipient=None, at=NOW)


@pytest.mark.parametrize(
    "address",
    ["b@example.com\r\nBcc: x@evil.example", "b@example.com, c@example.com", "<b@example.com>", "b", ""],
)
def test_an_address_is_one_bare_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a mail address"):
        message(LETTER, sender=address, recipient="b@example.com", at=NOW)
    with pytest.raises(ConfigurationError, match="expected a mail address"):
        message(LETTER, sender="a@example.com", recipient=address, at=NOW)


@pytest.mark.parametrize("key", ["../escape", "", "a/b", "a\nb", ".hidden", "k" * 200, "a,b"])
def test_a_key_is_fit_for_a_file_name(key: str) -> None:
    with pytest.raises(BadData, match="expected a key"):
        message(replace(LETTER, key=key), sender="a@example.com", recipient=None, at=NOW)


def test_numbers_keep_their_digits_and_lose_their_noise() -> None:
    assert exact(Decimal("1E+3")) == "1,000"
    assert exact(Decimal("0.00010000")) == "0.0001"
    assert price(Decimal("61234.123456789")) == "61,234.123"
    assert price(Decimal("0.000012345678901")) == "0.000012345679"
    assert money(Decimal("-1234.567"), "USD") == "-1,234.57 USD"

"""No stretch of time holds more requests than it may."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.connectors.rate import SlidingWindow


def test_the_first_requests_need_not_wait_and_the_next_waits_for_the_oldest_to_leave() -> None:
    window = SlidingWindow(2, 10.0)
    window.count(0.0)
    window.count(4.0)
    assert window.wait_seconds(5.0) == 5.0
    assert window.wait_seconds(10.0) == 0.0


def test_a_window_is_empty_again_once_its_requests_are_old() -> None:
    window = SlidingWindow(1, 1.0)
    window.count(0.0)
    assert not window.is_empty
    window.wait_seconds(1.0)
    assert window.is_empty


@settings(max_examples=30)
@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.integers(1, 5),
    st.floats(0.5, 5),
)
def test_who_waits_as_told_never_breaks_the_rule(pauses: list[float], requests: int, seconds: float) -> None:
    window, now, sent = SlidingWindow(requests, seconds), 0.0, []
    for pause in pauses:
        now += pause
        while (wait := window.wait_seconds(now)) > 0:
            now += wait
        window.count(now)
        sent.append(now)
    for i in range(len(sent) - requests):
        assert sent[i + requests] - sent[i] >= seconds - 1e-9

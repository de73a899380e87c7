"""What travels between steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ingestion.windows import Assignment, Mode
from autotrader.pipelines.data_steps import Work
from autotrader.pipelines.values import in_groups, staging_of
from autotrader.plain import from_plain
from tests.unit.pipelines.platform import NOW


@dataclass(frozen=True)
class Counted:
    rows: int
    names: tuple[str, ...]


def test_work_is_the_same_after_its_way_through_json() -> None:
    assignment = Assignment(Venue.IBKR, "AAPL", Interval.M1, NOW, NOW + Interval.M1.delta)
    work = Work("ibkr:AAPL", Mode.BACKFILL, "/staging", (assignment,))
    assert from_plain(Work, json.loads(json.dumps(command.to_plain(work)))) == work


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"rows": "many", "names": []}, "at rows"),
        ({"rows": 1}, "at names"),
        (None, "at Counted"),
        ({"rows": 1, "names": ["a", 2]}, "at names.1"),
    ],
)
def test_a_result_of_another_version_is_named_where_it_differs(plain: object, message: str) -> None:
    with pytest.raises(BadData, match=f"expected a Counted, was not one {message}"):
        from_plain(Counted, plain)


def test_a_message_about_a_wrong_result_does_not_repeat_its_values() -> None:
    with pytest.raises(BadData) as caught:
        from_plain(Counted, {"rows": "hunter2", "names": []})
    assert "hunter2" not in str(caught.value)


@settings(max_examples=60)
@given(items=st.lists(st.integers(), max_size=300), at_most=st.integers(1, 80))
def test_groups_hold_everything_in_order_and_are_nearly_equal(items: list[int], at_most: int) -> None:
    groups = in_groups(items, at_most=at_most)
    assert [item for group in groups for item in group] == items
    assert len(groups) == min(len(items), at_most)
    sizes = {len(group) for group in groups}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_each_run_has_a_staging_folder_of_its_own(home: Path) -> None:
    of_settings = Settings(_env_file=None, home=home)
    keys = ("scheduled__1", "manual__2")
    one, another = (staging_of(Path, of_settings, "data_pipeline", key) for key in keys)
    assert one != another
    assert one.is_absolute()
    assert one.is_relative_to(home)

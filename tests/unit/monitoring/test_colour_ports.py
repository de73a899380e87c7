"""A colour whose port moved is read where it is, by Prometheus and by ourselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color
from autotrader.monitoring.colour_ports import expect_port, of_home, tell_port, told_port
from autotrader.monitoring.prometheus_files import prometheus
from autotrader.monitoring.rules import rules
from autotrader.monitoring.scene import Hosts, Scene


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, home=tmp_path / "home")


def targets(settings: Settings) -> list[object]:
    """What Prometheus finds in the files of its configuration."""
    files = sorted(of_home(settings.home).glob("*.json"))
    return [static for path in files for static in json.loads(path.read_text())]


def test_who_starts_a_colour_is_believed_over_the_settings_and_by_all(settings: Settings) -> None:
    tell_port(of_home(settings.home), Color.GREEN, 8002)
    rules(settings=settings, folder=settings.home / "monitoring")
    tell_port(of_home(settings.home), Color.BLUE, 8003)
    scene = Scene.of(settings, Hosts.LOOPBACK, settings.home)
    assert [t.port for t in scene.platform() if t.job == "prediction"] == [8003, 8002]
    static = [job for job in prometheus(replace(scene))["scrape_configs"] if job["job_name"] == "prediction"]  # type: ignore[index, call-overload, union-attr]
    assert targets(settings) == static[0]["static_configs"], "the same words, wherever they are written"  # type: ignore[index, call-overload]


def test_colours_that_were_never_started_are_read_where_the_settings_say(settings: Settings) -> None:
    folder = settings.home / "monitoring"
    rules(settings=settings, folder=folder)
    assert [told_port(of_home(settings.home), color) for color in Color] == [8000, 8001]
    assert '- "colours/*.json"' in (folder / "prometheus" / "prometheus.yml").read_text()


def test_what_is_expected_does_not_overwrite_what_is_known(tmp_path: Path) -> None:
    tell_port(tmp_path, Color.BLUE, 8002)
    expect_port(tmp_path, Color.BLUE, 8000)
    assert told_port(tmp_path, Color.BLUE) == 8002
    assert [path.name for path in tmp_path.iterdir()] == ["blue.json"]


def test_of_another_folder_prometheus_is_told_the_ports_of_the_moment(
    settings: Settings, tmp_path: Path
) -> None:
    tell_port(of_home(settings.home), Color.BLUE, 8002)
    rules(settings=settings, folder=tmp_path / "elsewhere")
    text = (tmp_path / "elsewhere/prometheus/prometheus.yml").read_text()
    assert "127.0.0.1:8002" in text
    assert not (tmp_path / "elsewhere/prometheus/colours").exists()


def test_in_containers_ports_do_not_move(settings: Settings, tmp_path: Path) -> None:
    tell_port(of_home(settings.home), Color.BLUE, 8002)
    rules(settings=settings, folder=tmp_path / "compose", hosts=Hosts.COMPOSE)
    assert "prediction-blue:8000" in (tmp_path / "compose/prometheus/prometheus.yml").read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"targets": []}]', '[{"targets": ["x:y"]}]'])
def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "blue.json").write_text(content)
    with pytest.raises(BadData, match="expected a target of Prometheus in"):
        told_port(tmp_path, Color.BLUE)

"""Write the files of Prometheus, Alertmanager and Grafana: `python -m autotrader.monitoring.rules`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.alert_rules import Group
from autotrader.domain.errors import ExitCode
from autotrader.domain.metrics import Profile
from autotrader.domain.rollout import Color
from autotrader.monitoring import colour_ports
from autotrader.monitoring.alertmanager_files import alertmanager
from autotrader.monitoring.dashboards.catalogue import DASHBOARDS
from autotrader.monitoring.dashboards.grafana import data_source, provider, to_json
from autotrader.monitoring.prometheus_files import prometheus, rule_file
from autotrader.monitoring.scene import Hosts, Scene
from autotrader.monitoring.secret_files import keep_secrets
from autotrader.monitoring.yaml_text import render

FOLDER = Path("monitoring")
SECRETS = "secrets"

_OWNED = ("prometheus/rules", "dashboards")  # folders in which nothing else may be

_HEADER = """\
# Generated from src/autotrader/domain/alert_rules.py and src/autotrader/monitoring: do not edit.
# `python -m autotrader.monitoring.rules` writes it, and with --check tells whether it is up to date.
"""


def rules(
    *,
    settings: Settings,
    check: bool = False,
    folder: Path | None = None,
    hosts: Hosts = Hosts.LOOPBACK,
    secrets: Path | None = None,
) -> command.Result:
    """Write the configuration of Prometheus, Alertmanager and Grafana, or check that it is up to date.

    Without a folder it is the checkout's: default ports, no profile (but rules and panels of all of
    them, to read), every way to people. With one it is this environment's: its ports and profiles, and
    the ways whose secrets are there. Secrets of the settings are written to files for it, which their
    owner alone may read.

    Parameters
    ----------
    check : bool
        Change nothing; fail if a file differs.
    folder : Path or None
        Where to write for this environment; its secrets are looked for below, in `secrets/`.
    hosts : Hosts
        Names under which the parts know each other.
    secrets : Path or None
        The folder of secrets as Prometheus and Alertmanager see it, if that differs.
    """
    where = folder or FOLDER
    scene, profiles = Scene(), frozenset(Profile)
    if folder is not None:
        kept = folder.resolve() / SECRETS
        if not check:
            keep_secrets(settings, kept)
        scene = Scene.of(settings, hosts, kept, seen_as=secrets)
        is_read_here = scene.colours is not None and scene.colours.parent.parent == folder.resolve()
        scene, profiles = replace(scene, follows_colours=is_read_here), scene.profiles
    files = dict(_files(scene, profiles))
    written = [where / name for name in files]
    if check:
        stale = [str(where / name) for name, text in files.items() if _read(where / name) != text]
        found = {path for owned in _OWNED for path in (where / owned).glob("*")}
        stale += sorted(str(path) for path in found - set(written))
        how = f" --folder {folder}" if folder else ""
        advice = f"stale: {', '.join(stale)}: run python -m autotrader.monitoring.rules{how}"
        return command.Result(
            {"stale": stale},
            advice if stale else f"{where} is up to date",
            ExitCode.FAILED if stale else ExitCode.DONE,
        )
    for name, text in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _read(path) != text:
            path.write_text(text)
    if scene.follows_colours and scene.colours:
        for color in Color:
            colour_ports.expect_port(scene.colours, color, scene.colour_port(color))
    channels = sorted(scene.channels)
    return command.Result(
        {
            "folder": where,
            "files": list(files),
            "channels": channels,
            "prometheus_port": scene.monitoring.prometheus_port,
            "alertmanager_port": scene.monitoring.alertmanager_port,
        },
        f"wrote {len(files)} files below {where}; ways to people: {', '.join(channels) or 'none'}",
    )


def _files(scene: Scene, profiles: frozenset[Profile]) -> Iterator[tuple[str, str]]:
    yield "prometheus/prometheus.yml", _HEADER + render(prometheus(scene))
    for group in Group:
        yield f"prometheus/rules/{group}.yml", _HEADER + render(rule_file(group, scene))
    yield "alertmanager/alertmanager.yml", _HEADER + render(alertmanager(scene))
    provisioning = "grafana/provisioning"
    yield f"{provisioning}/datasources/prometheus.yml", _HEADER + render(data_source(scene))
    yield f"{provisioning}/dashboards/autotrader.yml", _HEADER + render(provider())
    for dashboard in DASHBOARDS:
        yield f"dashboards/{dashboard.name}.json", to_json(dashboard, scene, profiles)


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(command.run(rules))

"""Where Prometheus finds what it watches, and which ways lead to people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from autotrader.alerts.relayed import PEOPLE
from autotrader.config.settings import (
    AlertSettings,
    ApiSettings,
    MailSettings,
    MonitoringSettings,
    ServingSettings,
    Settings,
    TradingSettings,
)
from autotrader.domain.metrics import Profile
from autotrader.domain.rollout import Color
from autotrader.domain.thresholds import ALERTS
from autotrader.monitoring import colour_ports
from autotrader.ports.alerts import ChannelName

# Files below the folder of secrets; whoever sets the platform up fills them.
PAGERDUTY_KEY = "pagerduty-routing-key"
SLACK_URL = "slack-webhook-url"
SMTP_PASSWORD = "smtp-password"  # noqa: S105 - its name
PLATFORM_TOKEN = "platform-token"  # noqa: S105 - its name

NODE_PORT, POSTGRES_PORT, REDIS_PORT = 9100, 9187, 9121  # of the exporters, as their makers have them


class Hosts(StrEnum):
    """Under which names the parts know each other."""

    LOOPBACK = "loopback"
    COMPOSE = "compose"

    def of(self, service: str) -> str:
        return "127.0.0.1" if self is Hosts.LOOPBACK else service


@dataclass(frozen=True, slots=True)
class Target:
    """A page that is read.

    Attributes
    ----------
    job : str
    service : str
        Name of the part, and of its host under Compose.
    port : int
    color : str or None
        Of a prediction service.
    """

    job: str
    service: str
    port: int
    color: str | None = None


@dataclass(frozen=True)
class Scene:
    """All that the generated files depend on.

    Attributes
    ----------
    secrets : Path
        Folder of the files that hold secrets, as Alertmanager sees it.
    colours : Path or None
        Folder that says where the prediction services listen now; None where their ports never move.
    follows_colours : bool
        Whether Prometheus looks there, too; else it has the ports of the moment.
    channels : frozenset of ChannelName
        Ways that are set up. A severity without its way reaches the platform's own webhook alone.
    """

    serving: ServingSettings = field(default_factory=ServingSettings)
    trading: TradingSettings = field(default_factory=TradingSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    hosts: Hosts = Hosts.LOOPBACK
    secrets: Path = Path("secrets")
    colours: Path | None = None
    follows_colours: bool = False
    channels: frozenset[ChannelName] = frozenset(channel for channel, _ in PEOPLE.values())

    @classmethod
    def of(cls, settings: Settings, hosts: Hosts, secrets: Path, *, seen_as: Path | None = None) -> Scene:
        """That of the settings; a way is set up if its secret is there."""
        found = {
            ChannelName.PAGERDUTY: _is_filled(secrets / PAGERDUTY_KEY),
            ChannelName.SLACK: _is_filled(secrets / SLACK_URL),
            ChannelName.EMAIL: bool(settings.mail.host and settings.mail.recipients),
        }
        return cls(
            settings.serving,
            settings.trading,
            settings.api,
            settings.mail,
            settings.alerts,
            settings.monitoring,
            hosts,
            seen_as or secrets,
            colours=colour_ports.of_home(settings.home) if hosts is Hosts.LOOPBACK else None,
            channels=frozenset(channel for channel, is_set_up in found.items() if is_set_up),
        )

    @property
    def profiles(self) -> frozenset[Profile]:
        return frozenset(self.monitoring.profiles)

    @property
    def needs_token(self) -> bool:
        """Whether the API takes us for strangers."""
        return self.hosts is not Hosts.LOOPBACK

    @property
    def scrape_seconds(self) -> int:
        return round(ALERTS.scrape.total_seconds())

    @property
    def api_url(self) -> str:
        return f"{self.api_scheme}://{self.hosts.of('api')}:{self.api.port}"

    @property
    def api_scheme(self) -> str:
        return "https" if self.api.tls_certificate else "http"

    def platform(self) -> Iterator[Target]:
        """Our own processes."""
        for color in Color:
            yield Target("prediction", colour_ports.service_of(color), self.colour_port(color), color.value)
        yield Target("api", "api", self.api.port)
        yield Target("trader", "trader", self.trading.metrics_port)
        yield Target("exporter", "exporter", self.monitoring.exporter_port)

    def colour_port(self, color: Color) -> int:
        """Where the colour listens, or would if it were started now."""
        told = colour_ports.told_port(self.colours, color) if self.colours else None
        usual = self.serving.blue_port if color is Color.BLUE else self.serving.green_port
        return usual if told is None else told

    def others(self) -> Iterator[Target]:
        """What watches, and what we run on."""
        yield Target("prometheus", "prometheus", self.monitoring.prometheus_port)
        yield Target("alertmanager", "alertmanager", self.monitoring.alertmanager_port)
        yield Target("node", "node-exporter", NODE_PORT)
        if Profile.POSTGRES in self.profiles:
            yield Target("postgres", "postgres-exporter", POSTGRES_PORT)
        if Profile.REDIS in self.profiles:
            yield Target("redis", "redis-exporter", REDIS_PORT)


def _is_filled(path: Path) -> bool:
    return path.is_file() and bool(path.read_text().strip())

"""The Compose files: form, pins, ports, passwords, health checks, commands and settings that there are.

No Docker engine is asked: what only one could say (an image is there, a part starts) is not said here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.metrics import Profile
from autotrader.monitoring.rules import rules
from autotrader.monitoring.scene import Hosts

PLATFORM, MONITORING = Path("docker-compose.yml"), Path("docker-compose.monitoring.yml")
EXAMPLE = Path(".env.compose.example")
FILES = (PLATFORM, MONITORING)
DOCUMENTS = {path: yaml.safe_load(path.read_text()) for path in FILES}
SERVICES = [
    (path.name, name, service)
    for path, document in DOCUMENTS.items()
    for name, service in document["services"].items()
]
# For who has no venue at hand: nothing that is always there may need it.
ON_DEMAND = {"exchange"}
ONCE = {"prepare-database", "prepare-airflow-database", "prepare-airflow"}
# They listen nowhere; the exporter tells of the controller by its heartbeat, of alerts by what they sent.
WITHOUT_HEALTH_CHECK = {"controller", "shipping", "alerts"}
# Its entrypoint gives the volume to the server's user, and goes on as that.
ROOT_AT_FIRST = {"postgres"}
# Of images that are not ours.
THEIRS = re.compile(
    r"POSTGRES_PASSWORD|REDISCLI_AUTH|GF_[A-Z_]+|REDIS_(ADDR|PASSWORD)|DATA_SOURCE_(URI|USER|PASS)"
)
AIRFLOW = re.compile(r"AIRFLOW__[A-Z_]+__[A-Z_]+")

each_service = pytest.mark.parametrize(
    ("file", "name", "service"), SERVICES, ids=[f"{name}" for _, name, _ in SERVICES]
)


def faults_of(name: str, service: dict[str, Any]) -> list[str]:
    """What a service has wrong, one sentence a fault."""
    found = []
    image = service.get("image", "")
    tag = re.search(r":([^:/]+)$", image.replace(":?", "?"))
    if tag is None or tag.group(1) in {"latest", "main", "edge"}:
        found.append(f"expected an image with a version, was {image}")
    found += [
        f"expected a port on 127.0.0.1, was {port}"
        for port in service.get("ports", ())
        if not re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port)
    ]
    for variable, value in service.get("environment", {}).items():
        is_secret = re.search(r"PASS|SECRET|TOKEN|KEY|AUTH$", variable)
        if is_secret and ":?" not in str(value) and not variable.endswith(("_FILE", "_USERS")):
            found.append(f"expected {variable} to be given, was {value}")
    found += [
        f"expected a password to be given, was {password}"
        for password in re.findall(r"://\w*:([^@/]*)@", json.dumps(service))
        if ":?" not in password
    ]
    if "memory" not in service.get("deploy", {}).get("resources", {}).get("limits", {}):
        found.append("expected a limit of memory, was none")
    if service.get("restart") != ("no" if name in ONCE else "unless-stopped"):
        found.append(f"expected a restart policy, was {service.get('restart')}")
    checked = "test" in service.get("healthcheck", {})
    if checked is (name in ONCE | WITHOUT_HEALTH_CHECK):
        found.append("expected a health check, was none" if not checked else "expected none")
    if service.get("healthcheck", {}).get("disable") and name not in ONCE:
        # Compose's --wait takes a disabled check for an error, and an image's none for well while it runs.
        found.append("expected no health check to be switched off: take an image without one")
    if name not in ROOT_AT_FIRST and (service.get("cap_drop"), service.get("read_only")) != (["ALL"], True):
        found.append("expected no capability, and a root file system that cannot be written")
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        found.append("expected no new privileges")
    return found


def settings_names(model: Any = Settings, path: str = PREFIX) -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        names |= (
            settings_names(inner, f"{path}{name.upper()}__")
            if hasattr(inner, "model_fields")
            else {f"{path}{name.upper()}"}
        )
    return names


@each_service
def test_a_service_is_pinned_bounded_watched_and_without_a_default_password(
    file: str, name: str, service: dict[str, Any]
) -> None:
    assert faults_of(name, service) == [], file


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"image": "docker.io/prom/prometheus"}, "expected an image with a version"),
        ({"image": "docker.io/prom/prometheus:latest"}, "expected an image with a version"),
        ({"ports": ["8010:8010"]}, "expected a port on 127.0.0.1"),
        ({"ports": ["0.0.0.0:${API_PORT:-8010}:8010"]}, "expected a port on 127.0.0.1"),
        ({"environment": {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-postgres}"}}, "expected POSTGRES_PASS"),
        ({"command": ["x", "postgresql://u:${X:-secret}@postgres/x"]}, "expected a password to be given"),
        ({"deploy": {}}, "expected a limit of memory"),
        ({"restart": "always"}, "expected a restart policy"),
        ({"healthcheck": {"disable": True}}, "expected a health check"),
        ({"healthcheck": {"disable": True}}, "expected no health check to be switched off"),
        ({"cap_drop": []}, "expected no capability"),
        ({"read_only": False}, "expected no capability"),
        ({"security_opt": []}, "expected no new privileges"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:40],
)
def test_a_planted_fault_is_found(planted: dict[str, Any], said: str) -> None:
    good = DOCUMENTS[MONITORING]["services"]["prometheus"]

    assert any(fault.startswith(said) for fault in faults_of("prometheus", {**good, **planted}))


@each_service
def test_what_a_service_is_told_is_a_setting_of_ours_or_of_whom_it_is_of(
    file: str, name: str, service: dict[str, Any]
) -> None:
    ours = settings_names() | {"HEALTH_URL"}
    unknown = {
        variable
        for variable in service.get("environment", {})
        if variable not in ours and not AIRFLOW.fullmatch(variable) and not THEIRS.fullmatch(variable)
    }
    assert unknown == set(), file


@pytest.mark.integration  # Airflow is asked
def test_airflows_variables_are_options_that_it_has() -> None:
    told = DOCUMENTS[PLATFORM]["services"]["airflow-scheduler"]["environment"]
    options = {name: value for name, value in told.items() if AIRFLOW.fullmatch(name)}
    asked = [name.split("__")[1:] for name in options if "TRANSPORT_OPTIONS" not in name]
    known = json.loads(said_by("-c", _LIST_OPTIONS).splitlines()[-1])
    assert {f"{section}__{option}" for section, option in asked} <= set(known)


_LIST_OPTIONS = """
import json
from airflow.configuration import conf
from airflow.providers.celery.get_provider_info import get_provider_info
found = [f"{s}__{o}".upper() for s in conf.get_sections_including_defaults()
         for o in conf.get_options_including_defaults(s)]
for section, told in get_provider_info()["config"].items():
    found += [f"{section}__{option}".upper() for option in told["options"]]
print(json.dumps(found))
"""


def commands_of(service: dict[str, Any]) -> list[list[str]]:
    """What it runs, a shell's words too, and what looks after its health."""
    words, test = service.get("command", []), service.get("healthcheck", {}).get("test", [])
    if words[:2] == ["sh", "-c"]:
        words = shlex.split(words[2].removeprefix("exec "))
    return [command for command in (words, test[1:]) if command]


def said_by(*words: str) -> str:
    environment = {**os.environ, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_service
@pytest.mark.integration  # each is asked for its options
def test_a_command_of_ours_is_one_that_there_is_with_the_options_that_it_has(
    file: str, name: str, service: dict[str, Any]
) -> None:
    for words in commands_of(service):
        if words[:2] != ["python", "-m"]:
            continue
        module, arguments = words[2], words[3:]
        assert importlib.util.find_spec(module), (file, module)
        shown = said_by("-m", module, "--help")
        for option in (word for word in arguments if word.startswith("--")):
            assert option in shown, (module, option)


def test_the_parts_are_all_there_and_a_trader_is_never_more_than_one() -> None:
    platform = DOCUMENTS[PLATFORM]["services"]

    assert set(platform) == ONCE | ON_DEMAND | WITHOUT_HEALTH_CHECK | {
        "postgres", "redis", "mlflow", "prediction-blue", "prediction-green", "trader", "api", "exporter",
        "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
        "airflow-worker",
    }  # fmt: skip
    assert set(DOCUMENTS[MONITORING]["services"]) == {
        "prometheus", "alertmanager", "grafana", "node-exporter", "redis-exporter", "postgres-exporter",
    }  # fmt: skip
    assert platform["trader"]["deploy"]["replicas"] == 1
    assert platform["trader"]["container_name"], "Compose refuses a second one of a name"
    assert platform["airflow-worker"]["deploy"]["replicas"] == "${AIRFLOW_WORKERS:-1}"


def test_parts_wait_for_what_they_need_and_nothing_waits_for_itself() -> None:
    services = DOCUMENTS[PLATFORM]["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            finished = how["condition"] == "service_completed_successfully"
            assert finished is (needed in ONCE), (name, needed)
            if not finished:
                assert "test" in services[needed]["healthcheck"]

    def ancestors(name: str, seen: tuple[str, ...] = ()) -> set[str]:
        assert name not in seen, seen
        needed = set(services[name].get("depends_on", {}))
        return needed.union(*(ancestors(each, (*seen, name)) for each in needed))

    for name in set(services) - {"postgres", "redis", *ONCE, *ON_DEMAND}:
        if name.startswith("prediction"):
            continue
        assert "postgres" in ancestors(name), name


def test_what_is_there_on_demand_is_there_by_its_profile_alone() -> None:
    services = DOCUMENTS[PLATFORM]["services"]
    assert {name for name, service in services.items() if service.get("profiles")} == ON_DEMAND
    assert (
        not {needed for service in services.values() for needed in service.get("depends_on", ())} & ON_DEMAND
    )


def test_prometheus_finds_every_part_by_its_name_and_has_every_profile(tmp_path: Path) -> None:
    made = Settings(monitoring={"profiles": tuple(p for p in Profile if p is not Profile.CACHE)})  # type: ignore[arg-type]
    rules(settings=made, folder=tmp_path, hosts=Hosts.COMPOSE, secrets=Path("/run/autotrader"))
    configuration = yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())
    hosts = {
        target.partition(":")[0]
        for job in configuration["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    named = {name for document in DOCUMENTS.values() for name in document["services"]}
    assert hosts <= named

    mounted = [volume.split(":")[-2:] for volume in DOCUMENTS[MONITORING]["services"]["prometheus"]["volumes"]
               if volume.endswith(":ro")]  # fmt: skip
    assert ["/run/autotrader", "ro"] in mounted
    assert "/run/autotrader/platform-token" in (tmp_path / "prometheus" / "prometheus.yml").read_text()


def test_configuration_is_mounted_so_that_nobody_changes_it_in_there() -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        for volume in DOCUMENTS[MONITORING]["services"][name]["volumes"]:
            assert volume.endswith(":ro") is ("/data/" not in volume), volume


def test_the_example_names_what_compose_asks_for_and_nothing_else() -> None:
    text = "".join(path.read_text() for path in FILES)
    of_script = {"MONITORING_FOLDER", "MONITORING_USER"}
    asked = set(re.findall(r"\$\{([A-Z_]+)", text)) - of_script
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)

    assert {name for name, _ in lines} == asked | {"COMPOSE_IGNORE_ORPHANS", "COMPOSE_PROFILES"}
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    for name, value in lines:
        if name in defaults and value:
            assert value == defaults[name], name
        if re.search(r"PASSWORD|TOKEN|SECRET|FERNET", name):
            assert value == "", name


def test_compose_itself_reads_them() -> None:
    asked = ["docker", "compose", "version"]
    found = shutil.which("docker") and subprocess.run(asked, capture_output=True, timeout=30, check=False)
    if not found or found.returncode:
        pytest.skip("needs Docker with Compose; no engine")
    text = "".join(path.read_text() for path in FILES)
    given = dict.fromkeys(re.findall(r"\$\{([A-Z_]+):\?", text), "x1")
    given |= {name: "/x1" for name in given if name.endswith("_FOLDER")}  # else they name volumes
    for path in FILES:
        read = ["docker", "compose", "--env-file", os.devnull, "--file", str(path), "config", "--quiet"]
        subprocess.run(read, env={**os.environ, **given}, timeout=60, check=True)
        without = subprocess.run(read, timeout=60, check=False)
        assert without.returncode != 0, "it starts without passwords"

"""Generated pages are those of the code, and written ones name what there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from autotrader import command
from autotrader.cli import VERBS
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.alert_rules import RULES
from autotrader.domain.errors import ExitCode
from autotrader.domain.metrics import METRICS
from autotrader.domain.runbooks import APPLICATION_ALERTS
from autotrader.reference.markdown import words
from autotrader.reference.pages import pages
from autotrader.reference.site import site

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
WRITTEN = sorted(
    path for path in DOCS.glob("*.md") if "Generated from the code" not in path.read_text()[:100]
)
TARGETS = {name: target for topic in VERBS.values() for name, target in topic.items()}


def exit_code(result: command.Result) -> ExitCode:
    return result.exit_code


def test_every_metric_alert_command_and_section_has_its_place(tmp_path: Path) -> None:
    pages(folder=tmp_path)
    metrics = (tmp_path / "metrics.md").read_text()
    assert all(f"`{metric.name}`" in metrics for metric in METRICS)
    alerts = (tmp_path / "alerts.md").read_text()
    assert all(f"### {rule.name}\n" in alerts and rule.expression in alerts for rule in RULES)
    assert all(f"| {name} |" in alerts for name in APPLICATION_ALERTS)
    commands = (tmp_path / "commands.md").read_text()
    assert all(f"### {name}\n" in commands for name in TARGETS)
    settings = (tmp_path / "settings.md").read_text()
    assert all(f"{PREFIX}{name.upper()}" in settings for name in Settings.model_fields)


def test_routes_and_repeats_are_those_that_alertmanager_is_given(tmp_path: Path) -> None:
    pages(folder=tmp_path)
    alerts = (tmp_path / "alerts.md").read_text()
    written = yaml.safe_load((ROOT / "monitoring/alertmanager/alertmanager.yml").read_text())
    ways = {"pagerduty": "a page", "slack": "a message in Slack", "email": "a mail"}
    for route in written["route"]["routes"]:
        if route["receiver"] in ways:
            severity = re.search('severity="(.+)"', route["matchers"][0])
            assert severity is not None
            line = f"| {severity[1]} | {ways[route['receiver']]}, again every {route['repeat_interval']} |"
            assert line in alerts


def test_no_default_of_a_secret_is_shown_and_no_template_is_left_open(tmp_path: Path) -> None:
    pages(folder=tmp_path)
    settings = (tmp_path / "settings.md").read_text()
    assert f"| `{PREFIX}BINANCE__API_SECRET` | secret |" in settings
    prose = re.sub(r"```promql\n.*?```", "", (tmp_path / "alerts.md").read_text(), flags=re.DOTALL)
    assert "{{" not in prose


def test_a_page_that_differs_or_lacks_fails_the_check_and_is_named(tmp_path: Path) -> None:
    assert pages(check=True, folder=tmp_path).exit_code is ExitCode.FAILED
    pages(folder=tmp_path)
    assert pages(check=True, folder=tmp_path).exit_code is ExitCode.DONE
    page = tmp_path / "metrics.md"
    page.write_text(page.read_text().replace("gauge", "counter", 1))
    stale = pages(check=True, folder=tmp_path)
    assert stale.exit_code is ExitCode.FAILED
    assert "metrics.md" in stale.text
    assert "alerts.md" not in stale.text


def test_words_are_no_markup_but_code_stays_code() -> None:
    assert words("a | b <c> *d* `e|f_g` [h]") == r"a \| b \<c\> \*d\* `e\|f_g` \[h\]"
    assert words("one ` alone") == r"one \` alone"


def test_the_options_of_a_verb_are_those_that_it_takes() -> None:
    found = {option.flag: option for option in command.options(pages)}
    assert list(found) == ["--check / --no-check", "--folder"]
    assert (found["--folder"].value, found["--folder"].required) == ("FOLDER", False)
    assert found["--folder"].help == "Of the documentation."


# ------------------------------------------------------------------------------- the written ones


def shell_lines() -> Iterator[tuple[str, str]]:
    """Page and command, of blocks and of what stands in backquotes."""
    for path in WRITTEN:
        text = path.read_text()
        found = [
            line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
        ]
        found += re.findall(r"(?<!`)`((?:\.venv/bin/)?(?:autotrader|make) [^`\n]+)`", text)
        for line in found:
            yield path.name, line.strip()


@pytest.mark.parametrize(
    ("page", "line"), sorted({(p, line) for p, line in shell_lines() if "bin/autotrader " in line})
)
def test_a_command_that_a_page_names_exists_and_takes_these_options(page: str, line: str) -> None:
    words_ = shlex.split(line.partition("bin/autotrader ")[2].rstrip("\\'"), comments=True)
    name = next((" ".join(words_[:n]) for n in (2, 1) if " ".join(words_[:n]) in TARGETS), None)
    assert name or words_[0] in {"--version", "--help"}, f"{page}: {line}"
    if name is None:
        return
    known = {"--help", "--json"}
    for option in command.options(command.load(TARGETS[name])):
        known |= set(option.flag.split(" / "))
    assert {word for word in words_ if word.startswith("--")} <= known, f"{page}: {line}"


def test_a_target_that_a_page_names_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target
        for _, line in shell_lines()
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]+)(?=[\s`']|$)", line)
    }
    assert named
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_the_messages_of_troubleshooting_are_printed_by_the_code() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
    source += (ROOT / "scripts/install.sh").read_text()
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    quoted = re.findall(
        r"`((?:expected|no mail|no recipient|Airflow|behind)[^`]* [^`]*)`",
        (DOCS / "troubleshooting.md").read_text(),
    )
    assert len(quoted) > 15
    for message in quoted:
        for part in message.split("…"):
            part = re.sub(r"^AUTOTRADER_", "", part.strip(" ,.:"))
            assert len(part) < 6 or part in joined or re.escape(part) in joined, f"{message!r}: {part!r}"


def test_a_setting_that_a_page_names_exists() -> None:
    known = (DOCS / "settings.md").read_text()
    read = (ROOT / "src/autotrader/access/authentication.py").read_text()  # the operator's own
    for path in WRITTEN:
        for name in re.findall(rf"(?<![A-Z_]){PREFIX}[A-Z_]+[A-Z]\b(?![*_])", path.read_text()):
            assert f"`{name}`" in known or f"`{name}__" in known or name in read, f"{path.name}: {name}"


# --------------------------------------------------------------------------------------- the site


def test_a_link_that_leads_nowhere_ends_the_site_and_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    page = root / "docs" / "a.md"
    page.write_text("[one](b.md) [two](../LICENSE) `[three](c.md)` [four](https://example.com)\n")
    (root / "LICENSE").write_text("free")
    found = site(folder=tmp_path / "site", root=root)
    assert (found.exit_code, found.data) == (ExitCode.FAILED, {"broken": ["docs/a.md: b.md"]})
    assert not (tmp_path / "site").exists()


def test_what_is_no_page_becomes_its_words_and_what_is_linked_comes_along(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("docs", "extra"):
        (root / name).mkdir(parents=True)
    (root / "docs" / "a.md").write_text("[one](../extra/b.md#x) [the licence](../LICENSE)\n")
    (root / "extra" / "b.md").write_text("# X\n")
    (root / "LICENSE").write_text("free")
    assert site(folder=tmp_path / "site", root=root).exit_code is ExitCode.DONE
    assert (tmp_path / "site/docs/a.md").read_text() == "[one](../extra/b.md#x) the licence\n"
    assert (tmp_path / "site/extra/b.md").exists()
    assert not (tmp_path / "site/LICENSE").exists()

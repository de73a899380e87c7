"""What is wrong with a runbook is found, and said in one line."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from autotrader import command
from autotrader.alerts import sources
from autotrader.domain.alert_rules import RULES
from autotrader.domain.runbooks import APPLICATION_ALERTS
from autotrader.domain.thresholds import ALERTS, DEGRADATION, Degradation
from autotrader.domain.trading import TradingState
from autotrader.monitoring.runbook_commands import unknown_commands
from autotrader.monitoring.runbook_faults import alert_names, facts, faults, index
from autotrader.monitoring.runbook_pages import Place, Promise, read_page, read_pages
from autotrader.monitoring.runbooks import FOLDER, runbooks

ROOT = Path(__file__).resolve().parents[3]
NEWS = {"ModelPromoted", "DeploymentCompleted"}


def page_text(name: str) -> str:
    sections = "".join(f"## {section}\n\nx\n\n" for section in ("Meaning", "Impact", "Diagnosis"))
    block = "<!-- expect: exit 0 -->\n```bash\ntrue\n```\n"
    return f"# {name}\n\n{facts(name)}\n\n{sections}## Mitigation\n\n{block}\n**Escalate** to x.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runbooks without a fault."""
    (tmp_path / "alerts").mkdir()
    for name in alert_names():
        (tmp_path / "alerts" / f"{name}.md").write_text(page_text(name))
    (tmp_path / "README.md").write_text(f"# Runbooks\n\n{index()}\n")
    return tmp_path


def found(folder: Path) -> list[str]:
    return list(faults(ROOT, read_pages(folder)))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_runbooks_of_the_checkout_are_without_a_fault() -> None:
    assert list(faults(ROOT, read_pages(ROOT / FOLDER))) == []


def test_what_is_right_has_no_fault(folder: Path) -> None:
    assert found(folder) == []


def test_a_missing_page_a_stale_one_and_a_missing_index_are_named(folder: Path) -> None:
    (folder / "alerts" / "SystemDown.md").unlink()
    (folder / "README.md").unlink()
    (folder / "alerts" / "Gone.md").write_text(page_text("BackupFailed"))
    said = found(folder)
    assert "alerts/SystemDown.md: missing: write it" in said
    assert "README.md: missing: write it" in said
    assert "alerts/Gone.md: stale: no alert has this name; delete the page" in said


STOPPING = [row for row in DEGRADATION if row.alert and row.after and row.state is not TradingState.ACTIVE]
PAGE = "alerts/ServiceDown.md"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## Impact", "## Effect", "Diagnosis, Mitigation, was Meaning, Effect"),
        ("**Escalate** to x.", "x", "when to escalate"),
        ("after 1m of", "after 9m of", "stale: run python -m autotrader.monitoring.runbooks"),
        ("<!-- expect: exit 0 -->", "", "before it, was ''"),
        ("exit 0 -->", "exit 7 -->", "'exit 7' in it"),
        ("exit 0 -->", "exit 0; on mars -->", "'on mars' in it"),
        ("expect: exit 0", 'expect: contains "x"', "was without exit"),
        ("expect: exit 0", "not-run:", "before it, was '<!-- not-run: -->'"),
        ("exit 0 -->", 'exit 0; contains "secret effect" -->', 'tell its reader of "secret effect"'),
        ("true\n", "autotrader fly\n", "names autotrader fly"),
        ("x\n\n## Impact", "`make coffee`\n\n## Impact", "names make coffee"),
        ("x\n\n## Impact", "[x](Nowhere.md)\n\n## Impact", "expected Nowhere.md to lead to a runbook"),
        ("x\n\n## Impact", "[x](../../x.md)\n\n## Impact", "expected ../../x.md to lead to a runbook"),
        ("x\n\n## Impact", "[x](SystemDown.md#cure)\n\n## Impact", "to lead to a heading"),
    ],
)  # fmt: skip
def test_a_fault_of_a_page_is_one_clear_line(folder: Path, old: str, new: str, said: str) -> None:
    edit(folder, PAGE, old, new)
    (line,) = found(folder)
    assert line.startswith(f"{PAGE}: ")
    assert said in line


def test_links_to_pages_and_headings_that_are_there_are_no_fault(folder: Path) -> None:
    edit(
        folder,
        PAGE,
        "x\n\n## Impact",
        "[x](SystemDown.md#impact) [y](../README.md) [z](#meaning)\n\n## Impact",
    )
    assert found(folder) == []


def test_more_than_one_block_in_twenty_that_is_not_run_is_too_many(folder: Path) -> None:
    for name in alert_names()[:3]:
        edit(folder, f"alerts/{name}.md", "<!-- expect: exit 0 -->", "<!-- not-run: needs systemd -->")
    (line,) = found(folder)
    assert line == f"expected at most 5% of {len(alert_names())} blocks not to be run, was 3"


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("autotrader risk status", ()),
        ("ID=$(autotrader alerts list --json)", ()),
        ("autotrader risk explode", ("autotrader risk explode",)),
        (".venv/bin/autotrader nothing", ("autotrader nothing",)),
        ("python -m autotrader.registry.get --version v1", ()),
        ("python -m autotrader.registry rollback", ()),
        ("python -m autotrader.registry explode", ("python -m autotrader.registry explode",)),
        ("python -m autotrader.registry.explode", ("python -m autotrader.registry.explode",)),
        ("python -m autotrader.domain", ("python -m autotrader.domain",)),
        ("scripts/break_glass.sh staging", ()),
        ("sudo scripts/explode.sh", ("scripts/explode.sh",)),
        ("make backup && make explode", ("make explode",)),
        ("true # as autotrader explode does", ()),
        ("sudo -u autotrader bash; ls /etc/autotrader", ()),
        ("autotrader backup --keep 3 && autotrader risk halt --reason x --json", ()),
        ("autotrader backup --kept 3", ("autotrader backup --kept",)),
        ("autotrader risk halt \\\n  --reasons x | grep --count x", ("autotrader risk halt --reasons",)),
        ('autotrader risk halt --reason "as --force did"', ()),
        (
            "python -m autotrader.registry.get --versions v1",
            ("python -m autotrader.registry.get --versions",),
        ),
        ("python -m autotrader.registry rollback --to x", ("python -m autotrader.registry rollback --to",)),
        ("systemctl restart autotrader-api; journalctl -u autotrader-backup.timer", ()),
        ("systemctl restart redis-server autotrader-coffee", ("the unit autotrader-coffee",)),
        ("scripts/monitoring.sh status --native --loud", ("scripts/monitoring.sh --loud",)),
    ],
)
def test_commands_that_do_not_exist_are_found(text: str, unknown: tuple[str, ...]) -> None:
    said = list(unknown_commands(ROOT, text))
    assert [line.partition(", which")[0] for line in said] == list(unknown)


def test_a_block_is_read_with_its_promise_wherever_it_is_indented(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text(
        '1. Look.\n\n   <!-- expect: exit 1; contains "a; b"; on aws -->\n'
        "   ```bash\n   if true; then\n     false\n   fi\n   ```\n"
        "   Prose.\n\n```yaml\nautotrader: explode\n```\n"
    )
    page = read_page(tmp_path, Path("x.md"))
    (block,) = page.blocks
    assert block.promise == Promise(1, ("a; b",), Place.AWS)
    assert (block.text, block.line) == ("if true; then\n  false\nfi\n", 4)
    assert "explode" not in page.prose


def test_what_a_block_does_while_something_is_amiss_stands_above_its_promise(folder: Path) -> None:
    amiss = '<!-- amiss: exit 1; contains "it DIED" -->\n<!-- expect: exit 0 -->'
    edit(folder, PAGE, "<!-- expect: exit 0 -->", amiss)
    (block,) = read_page(folder, Path(PAGE)).blocks
    assert (block.section, block.promise, block.amiss) == (
        "Mitigation",
        Promise(0),
        Promise(1, ("it DIED",)),
    )
    (line,) = found(folder)
    assert 'tell its reader of "it DIED"' in line
    edit(folder, PAGE, "amiss: exit 1;", "amiss: exit one;")
    assert "'exit one' in it" in found(folder)[0]


def test_every_alert_that_the_application_can_raise_is_known() -> None:
    words = {
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(sources)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {word for word in words if re.fullmatch(r"(?:[A-Z][a-z]+)+", word)} - {"Recovery"}
    rules = {rule.name for rule in RULES}
    assert named - rules - NEWS == set(APPLICATION_ALERTS) - {"Recovery"}
    assert not rules & set(APPLICATION_ALERTS)


def test_the_facts_of_an_alert_are_those_of_its_rules() -> None:
    assert f"> {ALERTS.backup_age.total_seconds():.0f}" in facts("BackupMissing")
    assert "**critical**, after 2m of" in facts("SystemDown")
    assert facts("ErrorBudgetBurn").count("```promql") == 2


def test_numbers_in_sentences_are_those_of_the_thresholds() -> None:
    """Of the rules whose bound a sentence repeats."""
    for rule in RULES:
        text = (ROOT / FOLDER / rule.runbook).read_text()
        told = re.search(r"(?:more|less|longer) than ([\d.]+)(?:%| ms| s)?$|above ([\d.]+)$", rule.summary)
        if told:
            number = (told[1] or told[2]).rstrip(".")
            meaning = text.partition("## Meaning")[2].partition("## Impact")[0]
            assert number in meaning, f"{rule.name}: expected {number} in its meaning"


@pytest.mark.parametrize("row", STOPPING, ids=lambda row: f"{row.cause}-{row.state}")
def test_pages_tell_after_how_long_the_trader_stops(row: Degradation) -> None:
    text = (ROOT / FOLDER / "alerts" / f"{row.alert}.md").read_text()
    impact = text.partition("## Impact")[2].partition("## Diagnosis")[0]
    assert f"{row.after.total_seconds():.0f} s" in impact


def test_what_is_generated_is_put_right_and_then_nothing_is_left(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "runbooks").symlink_to(folder)
    for name in ("Makefile", "deploy", "scripts"):
        (checkout / name).symlink_to(ROOT / name)
    monkeypatch.chdir(checkout)
    edit(folder, PAGE, "after 1m of", "after 9m of")
    assert command.run(runbooks, ["--check"]) == 1
    assert f"runbooks/{PAGE}: stale" in capsys.readouterr().out
    assert command.run(runbooks, []) == 0
    assert "wrote 1 pages" in capsys.readouterr().out
    assert command.run(runbooks, ["--check"]) == 0
    assert command.run(runbooks, ["--shell"]) == 0
    assert "export PROMETHEUS=http://127.0.0.1:9090" in capsys.readouterr().out
